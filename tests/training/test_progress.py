"""What the driver makes of the ranks' events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.training.progress import TrainingProgress
from tests.console.terminal import Terminal, stderr_terminal

METRICS = {
    "loss": 0.5,
    "accuracy": 0.75,
    "val_loss": 0.625,
    "val_accuracy": 0.6875,
    "images_per_second": 2000.0,
}


def epoch(number, epochs=3, **metrics):
    return {"type": "epoch", "epoch": number, "epochs": epochs, "seconds": 61.0, "metrics": METRICS | metrics}


def step(number, of=10, epoch=0, epochs=3, loss=0.5):
    where = {"epoch": epoch, "epochs": epochs, "step": number, "steps": of}
    return {"type": "step", **where, "loss": loss, "images_per_second": 100.0}


def test_every_epoch_is_reported_once_with_its_metrics_and_has_a_line(capsys):
    reported = []
    with TrainingProgress(1000, 3, lambda number, metrics: reported.append((number, dict(metrics)))) as progress:
        for number in range(3):
            progress.handle(step(10, epoch=number))
            progress.handle(epoch(number, loss=0.5 / (number + 1), learning_rate=0.1))
    assert reported == [(n, METRICS | {"loss": 0.5 / (n + 1), "learning_rate": 0.1}) for n in range(3)]
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert [line.split()[:2] for line in lines] == [["epoch", f"{n}/3"] for n in (1, 2, 3)]
    for text in ("loss 0.1667", "val_accuracy 0.6875", "2,000 images/s", "1:01"):
        assert text in lines[-1]


MEASURED = {
    "images_per_second": 100.0,
    "step_ms": 2.0,
    "step_ms_p95": 3.0,
    "data_wait_share": 0.25,
    "communication_share": 0.5,
    "memory_mb": 300.0,
    "memory_peak_mb": 400.0,
}


def told(epoch, rank, ranks=2, **metrics):
    return {"type": "rank", "epoch": epoch, "rank": rank, "ranks": ranks, "metrics": MEASURED | metrics}


def test_what_ranks_measured_is_logged_together_and_apart_once_all_have_told():
    logged = []
    progress = TrainingProgress(1000, 3, lambda *_: None, lambda *given: logged.append(given))
    progress.handle(told(0, 1, data_wait_share=0.75, memory_mb=350.0))
    assert not logged
    progress.handle(told(0, 0))
    [(number, metrics)] = logged
    assert number == 0
    assert metrics["data_wait_share"] == 0.5
    assert (metrics["rank_0/data_wait_share"], metrics["rank_1/data_wait_share"]) == (0.25, 0.75)
    assert (metrics["communication_share"], metrics["memory_mb"], metrics["step_ms"]) == (0.5, 350, 2)
    assert "images_per_second" not in metrics  # it comes with the epoch
    own = {f"rank_{rank}/{name}" for rank in (0, 1) for name in MEASURED}
    assert metrics.keys() == own | {"world_size"} | MEASURED.keys() - {"images_per_second"}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2)), max_size=40))
def test_no_epoch_is_logged_twice_whatever_is_repeated(events):
    epochs, ranks = [], []
    progress = TrainingProgress(1000, 3, lambda n, _: epochs.append(n), lambda n, _: ranks.append(n))
    progress._progress._stream = Terminal()
    for number, rank in events:
        progress.handle(epoch(number) if rank < 0 else told(number, rank, ranks=3))
    assert sorted(epochs) == sorted({number for number, rank in events if rank < 0})
    assert sorted(ranks) == [n for n in range(3) if {(n, 0), (n, 1), (n, 2)} <= set(events)]


def test_a_restart_with_fewer_ranks_counts_these():
    logged = []
    progress = TrainingProgress(1000, 3, lambda *_: None, lambda *given: logged.append(given))
    progress.handle(told(0, 2, ranks=3))
    progress.handle(told(0, 0, ranks=2))
    progress.handle(told(0, 1, ranks=2))
    [(_, metrics)] = logged
    assert "rank_2/step_ms" not in metrics
    assert metrics["world_size"] == 2


def test_samples_of_machines_are_numbered_by_rank():
    logged = []
    progress = TrainingProgress(1, 1, lambda *_: None, log_sample=lambda *given: logged.append(given))
    for rank in (0, 1, 0):
        progress.handle({"type": "system", "rank": rank, "metrics": {"cpu_utilization_percentage": 50.0 + rank}})
    name = "cpu_utilization_percentage"
    assert logged == [
        (1, {f"system/rank_0/{name}": 50}),
        (1, {f"system/rank_1/{name}": 51}),
        (2, {f"system/rank_0/{name}": 50}),
    ]


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=10), st.integers(1, 10**6))
def test_summary_has_the_last_metrics_and_the_rate_over_all_epochs(rates, rows):
    progress = TrainingProgress(rows, len(rates), lambda *_: None)
    progress._progress._stream = Terminal()
    for number, rate in enumerate(rates):
        progress.handle(epoch(number, images_per_second=rate, val_accuracy=number / 10, val_loss=float(number)))
    summary = progress.summary()
    assert summary["epochs"] == len(rates)
    assert summary["val_accuracy"] == (len(rates) - 1) / 10
    assert summary["val_loss"] == len(rates) - 1
    seconds = sum(rows / rate for rate in rates)
    assert summary["images_per_second"] == pytest.approx(rows * len(rates) / seconds, abs=0.06)


@pytest.mark.parametrize(
    ("best", "stopped", "kept", "line"),
    [
        (1, 2, 0.1, "stopped early: val_loss no longer improves; the weights are those of epoch 2"),
        (None, 2, 0.2, "stopped early: val_loss no longer improves"),
        (0, None, 0.0, None),
    ],
)
def test_summary_is_that_of_the_epoch_whose_weights_are_kept(capsys, best, stopped, kept, line):
    with TrainingProgress(10, 9, lambda *_: None) as progress:
        for number in range(3):
            progress.handle(epoch(number, val_accuracy=number / 10))
        progress.handle({"type": "early_stopping", "epoch": best, "stopped": stopped, "monitor": "val_loss"})
    assert progress.summary()["val_accuracy"] == kept
    lines = capsys.readouterr().err.splitlines()
    assert [text.strip() for text in lines[3:]] == ([line] if line else [])


def test_live_line_says_where_training_is_and_how_long_it_takes(monkeypatch, clock):
    terminal = stderr_terminal(monkeypatch)
    with TrainingProgress(1000, 3, lambda *_: None) as progress:
        clock.now += 1
        progress.handle(step(5, epoch=1, loss=0.25))
        for text in ("epoch 2/3", "step 5/10", "loss 0.25", "100 images/s", "0:15 left"):
            assert text in terminal.screen()[-1]
        progress.handle(epoch(1))
        assert terminal.screen()[0].startswith("epoch 2/3")
    assert terminal.screen()[1:] == [""]


def test_live_line_is_erased_when_training_fails(monkeypatch, clock):
    terminal = stderr_terminal(monkeypatch)

    def fail():
        with TrainingProgress(1000, 3, lambda *_: None) as progress:
            clock.now += 1
            progress.handle(step(1))
            assert terminal.screen() != [""]
            raise RuntimeError("a rank failed")

    with pytest.raises(RuntimeError, match="a rank failed"):
        fail()
    assert terminal.screen() == [""]


def test_epochs_of_before_a_resume_are_reported_without_a_line_and_count(capsys):
    reported = []
    with TrainingProgress(1000, 3, lambda number, metrics: reported.append(number)) as progress:
        done = [epoch(0), epoch(1)]
        progress.handle({"type": "resumed", "epoch": 2, "step": 0, "done": done})
        progress.handle(epoch(2))
        progress.handle({"type": "resumed", "epoch": 2, "step": 0, "done": done})
    assert reported == [0, 1, 2]
    assert progress.summary()["epochs"] == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert [line.split()[1] for line in lines] == ["3/3"]


def test_how_the_layers_fare_is_told_once_per_epoch():
    told = []
    with TrainingProgress(10, 2, lambda *_: None, log_health=lambda *told_of: told.append(told_of)) as progress:
        for number, share in ((0, 0.1), (0, 0.2), (1, 0.3)):
            progress.handle({"type": "health", "epoch": number, "metrics": {"dead_units/a": share}})
    assert told == [(0, {"dead_units/a": 0.1}), (1, {"dead_units/a": 0.3})]
