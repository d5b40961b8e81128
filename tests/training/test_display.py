"""What a user sees of a training, in a terminal and elsewhere."""

import sys

import pytest

from convoy.training.display import ConsoleDisplay, line_of
from convoy.training.events import (
    Alive,
    EarlyStopped,
    Epoch,
    Restart,
    Resumed,
    Step,
    System,
    TrainingWarning,
    WorldSize,
)
from tests.console.terminal import stderr_terminal

METRICS = {"loss": 0.5, "accuracy": 0.75, "val_loss": 0.625, "val_accuracy": 0.6875, "images_per_second": 2000.0}


def epoch(number):
    return Epoch(number, 3, 61.0, METRICS)


def step(number, of=10, epoch=0, loss=0.5):
    return Step(epoch, 3, number, of, loss, 100.0)


def test_elsewhere_each_epoch_is_one_line_on_stderr(capsys):
    with ConsoleDisplay(1000, 3) as display:
        for number in range(3):
            display.show(step(10, epoch=number))
            display.show(epoch(number))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[:2] for line in err.splitlines()] == [["epoch", f"{n}/3"] for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("event", "texts"),
    [
        (epoch(0), ["epoch 1/3", "loss 0.5000", "val_accuracy 0.6875", "2,000 images/s", "1:01"]),
        (TrainingWarning("slow"), ["warning: slow"]),
        (Restart(1, "a rank was lost"), ["warning: a rank was lost", "attempt 2"]),
        (WorldSize(2, of=4), ["2 of 4 ranks"]),
        (Resumed(1, 7, ()), ["epoch 2, after step 7"]),
        (EarlyStopped(1, 2, "val_loss"), ["stopped early", "val_loss", "epoch 2"]),
    ],
)
def test_events_that_matter_have_one_line(event, texts):
    line = line_of(event)
    assert line is not None
    assert "\n" not in line
    for text in texts:
        assert text in line


@pytest.mark.parametrize("event", [Alive(), System(0, {}), EarlyStopped(0, None, "val_loss")])
def test_other_events_have_none(event, capsys):
    with ConsoleDisplay(1000, 3) as display:
        display.show(event)
    assert capsys.readouterr().err == ""


def test_early_stopping_without_restoring_names_no_epoch():
    assert "weights" not in str(line_of(EarlyStopped(None, 2, "val_loss")))


def test_the_bar_shows_where_training_is_and_how_long_it_takes(monkeypatch, clock):
    terminal = stderr_terminal(monkeypatch)
    with ConsoleDisplay(1000, 3) as display:
        clock.now += 1
        display.show(step(5, epoch=1, loss=0.25))
        for text in ("train epoch 2/3", "step 5/10", "loss 0.25", "100 images/s", "0:15 left"):
            assert text in terminal.screen()[-1]
        display.show(epoch(1))
        assert terminal.screen()[0].startswith("epoch 2/3")
        assert "step 5/10" in terminal.screen()[-1]
    assert terminal.screen()[0].startswith("epoch 2/3")
    assert terminal.screen()[1:] in ([], [""])


def test_the_bar_is_erased_when_training_fails(monkeypatch, clock):
    terminal = stderr_terminal(monkeypatch)

    def fail():
        with ConsoleDisplay(1000, 3) as display:
            clock.now += 1
            display.show(step(1))
            assert "step 1/10" in terminal.screen()[-1]
            raise RuntimeError("a rank failed")

    with pytest.raises(RuntimeError, match="a rank failed"):
        fail()
    assert terminal.screen() == [""]
    assert sys.stderr is terminal
