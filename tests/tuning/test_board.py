"""What the user sees of a study, and what is written of it."""

import csv
import io
import shlex

import pytest
import yaml

from convoy.config import Config
from convoy.config.loading import parse
from convoy.training.events import Epoch, Step, TrainingWarning
from convoy.tuning.board import Board, TrialDisplay, as_csv, as_yaml, say_best, short_names
from convoy.tuning.figures import pictures_of
from convoy.tuning.parameter import Parameter
from convoy.tuning.space import applied
from convoy.tuning.trials import TrialResult
from tests.console.terminal import stderr_terminal

RATE = Parameter("training.optimizer.learning_rate", low=1e-4, high=0.1, log=True)
NAME = Parameter("training.optimizer.name", choices=("adam", "sgd"))
MOMENTUM = Parameter("training.optimizer.momentum", low=0.0, high=0.9, when={NAME.name: ("sgd",)})
LAYERS = Parameter("model.layers", choices=(None, ["flatten", {"dense": {"activation": "soft max"}}]))
SPACE = (NAME, RATE, MOMENTUM)
FIRST = TrialResult(0, {NAME.name: "adam", RATE.name: 0.0012345}, "complete", 0.9, 3, 61.0, "a", "models:/m-1")
SECOND = TrialResult(
    1, {NAME.name: "sgd", RATE.name: 0.05, MOMENTUM.name: 0.5}, "failed", None, 1, 2.0, "b", "", "nan, so"
)
THIRD = TrialResult(
    2, {NAME.name: "sgd", RATE.name: 0.01, MOMENTUM.name: 0.1}, "complete", 0.95, 3, 9.0, "c", "models:/m-2"
)
PRUNED = TrialResult(3, {NAME.name: "adam", RATE.name: 0.1}, "pruned", None, 2, 9.0, "d", "", "pruned after epoch 2")


def test_a_row_for_each_trial_that_has_ended_below_one_header(capsys):
    board = Board(SPACE, "val_accuracy", 4)
    board.began(0, 0, None)
    board.ended(FIRST, FIRST)
    board.ended(SECOND, FIRST)
    board.ended(THIRD, THIRD)
    board.ended(PRUNED, THIRD)
    with TrialDisplay(board, 3) as display:
        display.show(TrainingWarning("slow"))
        display.show(Epoch(0, 3, 1.0, {}))  # its metrics are in the table
    board.close()
    header, *rows, warning = capsys.readouterr().err.splitlines()
    assert header.split() == ["trial", "val_accuracy", "epochs", "time", "optimizer.name", "learning_rate", "momentum"]
    assert rows[0].split() == ["0", "0.9000*", "3", "1:01", "adam", "0.001234", "-"]
    assert rows[1].split() == ["1", "failed", "1", "0:02", "sgd", "0.05", "0.5", "nan,", "so"]
    assert rows[2].split()[1] == "0.9500*"
    assert rows[3].split()[1] == "pruned"
    assert {row.index(row.split()[4]) for row in rows} == {header.index("optimizer.name")}
    assert warning == "trial 3: warning: slow"


def test_the_bar_shows_the_trials_that_run_and_the_best_one(clock, monkeypatch):
    terminal = stderr_terminal(monkeypatch, columns=120)
    board = Board(SPACE, "val_accuracy", 4)
    board.ended(FIRST, FIRST)
    board.began(1, 1, FIRST)
    clock.now += 1
    with TrialDisplay(board, 1) as display:
        display.show(Step(1, 3, 5, 10, 0.5, 100.0))
        clock.now += 1
        display.show(Step(2, 3, 5, 10, 0.5, 100.0))
        header, row, bar = terminal.screen()
    assert header.startswith("trial")
    assert row.startswith("0")
    assert bar.startswith("━")
    assert bar.endswith("tune 1/4 trials  best 0.9000 (trial 0)  [1] epoch 3/3")
    clock.now += 1
    board.ended(THIRD, THIRD)
    assert terminal.screen()[-1].endswith("tune 2/4 trials  best 0.9500 (trial 2)  [1] epoch 3/3")
    board.close()
    assert terminal.screen()[:2] == [header, row]
    assert terminal.screen()[-1] == ""


def test_short_names_are_different_and_say_something():
    names = ["training.optimizer.name", "model.name", "training.schedule.patience", "training.early_stopping.patience"]
    assert list(short_names(names).values()) == [
        "optimizer.name",
        "model.name",
        "schedule.patience",
        "early_stopping.patience",
    ]


def test_the_best_is_told_as_arguments_that_give_it_again(capsys):
    values = {"training.optimizer.learning_rate": 0.1 + 0.2, LAYERS.name: LAYERS.choices[1], "model.dropout": None}
    say_best(TrialResult(4, values, "complete", 0.5), "val_accuracy")
    told = shlex.split(capsys.readouterr().err.partition("0.5000: ")[2])
    assert parse("train", "", told) == applied(Config(), values)


def test_tables_are_read_back_as_they_were():
    rows = list(csv.DictReader(io.StringIO(as_csv([FIRST, SECOND], SPACE, "val_accuracy"))))
    assert [row["val_accuracy"] for row in rows] == ["0.9", ""]
    assert [row[MOMENTUM.name] for row in rows] == ["", "0.5"]
    assert [row["reason"] for row in rows] == ["", "nan, so"]
    expected = {"training": {"optimizer": {"name": "adam", "learning_rate": 0.0012345}}}
    assert yaml.safe_load(as_yaml(FIRST.values)) == expected


@pytest.mark.parametrize(
    ("trials", "metric", "space"),
    [
        ([FIRST], "val_loss", SPACE),
        ([FIRST, THIRD], "val_accuracy", (RATE,)),
        ([FIRST, SECOND, THIRD, PRUNED], "val_accuracy", (*SPACE, LAYERS)),
    ],
    ids=["1", "2", "4"],
)
def test_pictures_are_drawn_of_few_trials_as_of_many(trials, metric, space):
    found = pictures_of(trials, space, metric, {RATE.name: 1.0}, "a title")
    assert len(found) == 4
    for picture in found.values():
        picture.savefig(io.BytesIO(), dpi=30)
    nothing = pictures_of([SECOND], SPACE, metric, {}, "nothing is complete")
    assert list(nothing) == ["history.png"]
    nothing["history.png"].savefig(io.BytesIO(), dpi=30)
