"""What the driver makes of the events of a training: each metric is logged once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.training.events import EarlyStopped, Epoch, LayerHealth, RankEpoch, Resumed, System
from convoy.training.history import TrainingHistory

METRICS = {"loss": 0.5, "accuracy": 0.75, "val_loss": 0.625, "val_accuracy": 0.6875, "images_per_second": 2000.0}
MEASURED = {
    "images_per_second": 100.0,
    "step_ms": 2.0,
    "step_ms_p95": 3.0,
    "data_wait_share": 0.25,
    "communication_share": 0.5,
    "memory_mb": 300.0,
    "memory_peak_mb": 400.0,
}


def epoch(number, **metrics):
    return Epoch(number, 3, 61.0, METRICS | metrics)


def measured(epoch, rank, ranks=2, **metrics):
    return RankEpoch(epoch, rank, ranks, MEASURED | metrics)


def test_every_epoch_is_reported_once_with_its_metrics():
    reported = []
    history = TrainingHistory(1000, lambda number, metrics: reported.append((number, dict(metrics))))
    events = [epoch(number, loss=0.5 / (number + 1), learning_rate=0.1) for number in range(3)]
    assert all(history.record(event) for event in events)
    assert not any(history.record(event) for event in events)
    assert reported == [(n, METRICS | {"loss": 0.5 / (n + 1), "learning_rate": 0.1}) for n in range(3)]


def test_measurements_of_ranks_are_logged_together_and_apart_once_all_have_reported():
    logged = []
    history = TrainingHistory(1000, lambda *_: None, lambda *given: logged.append(given))
    history.record(measured(0, 1, data_wait_share=0.75, memory_mb=350.0))
    assert not logged
    history.record(measured(0, 0))
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
    history = TrainingHistory(1000, lambda n, _: epochs.append(n), lambda n, _: ranks.append(n))
    for number, rank in events:
        history.record(epoch(number) if rank < 0 else measured(number, rank, ranks=3))
    assert sorted(epochs) == sorted({number for number, rank in events if rank < 0})
    assert sorted(ranks) == [n for n in range(3) if {(n, 0), (n, 1), (n, 2)} <= set(events)]


def test_a_restart_with_fewer_ranks_counts_these():
    logged = []
    history = TrainingHistory(1000, lambda *_: None, lambda *given: logged.append(given))
    history.record(measured(0, 2, ranks=3))
    history.record(measured(0, 0, ranks=2))
    history.record(measured(0, 1, ranks=2))
    [(_, metrics)] = logged
    assert "rank_2/step_ms" not in metrics
    assert metrics["world_size"] == 2


def test_samples_of_machines_are_numbered_by_rank():
    logged = []
    history = TrainingHistory(1, lambda *_: None, log_sample=lambda *given: logged.append(given))
    for rank in (0, 1, 0):
        history.record(System(rank, {"cpu_utilization_percentage": 50.0 + rank}))
    name = "cpu_utilization_percentage"
    assert logged == [
        (1, {f"system/rank_0/{name}": 50}),
        (1, {f"system/rank_1/{name}": 51}),
        (2, {f"system/rank_0/{name}": 50}),
    ]


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=10), st.integers(1, 10**6))
def test_summary_has_the_last_metrics_and_the_rate_over_all_epochs(rates, rows):
    history = TrainingHistory(rows, lambda *_: None)
    for number, rate in enumerate(rates):
        history.record(epoch(number, images_per_second=rate, val_accuracy=number / 10, val_loss=float(number)))
    summary = history.summary()
    assert summary["epochs"] == len(rates)
    assert summary["val_accuracy"] == (len(rates) - 1) / 10
    assert summary["val_loss"] == len(rates) - 1
    seconds = sum(rows / rate for rate in rates)
    assert summary["images_per_second"] == pytest.approx(rows * len(rates) / seconds, abs=0.06)


@pytest.mark.parametrize(("best", "kept"), [(1, 0.1), (None, 0.2), (0, 0.0)])
def test_summary_is_that_of_the_epoch_whose_weights_are_kept(best, kept):
    history = TrainingHistory(10, lambda *_: None)
    for number in range(3):
        history.record(epoch(number, val_accuracy=number / 10))
    history.record(EarlyStopped(best, 2, "val_loss"))
    assert history.summary()["val_accuracy"] == kept


def test_epochs_before_a_resume_are_reported_once_and_count():
    reported = []
    history = TrainingHistory(1000, lambda number, metrics: reported.append(number))
    resumed = Resumed(2, 0, (epoch(0), epoch(1)))
    assert history.record(resumed)
    history.record(epoch(2))
    history.record(resumed)
    assert reported == [0, 1, 2]
    assert history.summary()["epochs"] == 3


def test_health_of_layers_is_logged_once_per_epoch():
    logged = []
    history = TrainingHistory(10, lambda *_: None, log_health=lambda *given: logged.append(given))
    for number, share in ((0, 0.1), (0, 0.2), (1, 0.3)):
        history.record(LayerHealth(number, {"dead_units/a": share}))
    assert logged == [(0, {"dead_units/a": 0.1}), (1, {"dead_units/a": 0.3})]
