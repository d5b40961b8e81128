"""The rule on training curves, on curves made for it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.insight.verdict import verdict


def curves(accuracy, val_accuracy, loss=None, val_loss=None):
    """Histories; losses are the errors unless given."""
    loss = loss or [1 - value for value in accuracy]
    val_loss = val_loss or [1 - value for value in val_accuracy]
    names = ("accuracy", "val_accuracy", "loss", "val_loss")
    return [dict(zip(names, row, strict=True)) for row in zip(accuracy, val_accuracy, loss, val_loss, strict=True)]


@pytest.mark.parametrize(
    ("history", "name", "says"),
    [
        (curves([0.9, 0.96, 0.97], [0.92, 0.955, 0.96]), "balanced", "1.0 percentage points apart"),
        (curves([0.8, 0.95, 0.99], [0.8, 0.9, 0.93]), "overfitting", "6.0 percentage points above"),
        (
            curves([0.9, 0.97, 0.99], [0.92, 0.96, 0.96], val_loss=[0.2, 0.1, 0.12]),
            "overfitting",
            "the validation loss, 0.1200, is 20% above its lowest, 0.1000",
        ),
        (curves([0.3, 0.4, 0.41], [0.3, 0.4, 0.41]), "underfitting", "34% of the way from guessing (10.0%)"),
        (curves([0.85, 0.9], [0.9, 0.94]), "underfitting", "rose by 4.0 percentage points in the last epoch"),
        (curves([0.85, 0.9], [0.97, 0.975]), "balanced", "with much dropout or augmentation"),
        ([], "unknown", "no epoch"),
        ([{"loss": math.nan}], "unknown", "no epoch"),
    ],
)
def test_each_shape_of_curves_has_its_verdict_and_the_numbers_that_gave_it(history, name, says):
    found = verdict(history, classes=10)
    assert found.name == name
    assert says in found.reason


def test_a_loss_that_rises_on_both_sides_is_no_overfitting():
    history = curves([0.9, 0.95, 0.94], [0.9, 0.95, 0.94], loss=[0.3, 0.1, 0.3], val_loss=[0.3, 0.1, 0.3])
    assert verdict(history, 10).name == "balanced"


def test_what_counts_as_good_depends_on_the_number_of_classes():
    history = curves([0.85, 0.85], [0.85, 0.85])
    assert (verdict(history, 2).name, verdict(history, 100).name) == ("underfitting", "balanced")


share = st.floats(0, 1)


@given(st.lists(st.tuples(share, share, share, share), max_size=6), st.integers(1, 1000))
def test_any_history_has_a_verdict(rows, classes):
    found = verdict(
        [dict(zip(("accuracy", "val_accuracy", "loss", "val_loss"), r, strict=True)) for r in rows], classes
    )
    assert (found.name == "unknown") == (not rows)
    assert "nan" not in found.reason
