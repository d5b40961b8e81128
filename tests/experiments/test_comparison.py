"""Rows and texts of a comparison."""

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.experiments.comparison import as_csv, as_json, as_markdown, cells, rows_of
from tests.experiments.trials import trial


def test_rows_stand_in_the_order_of_the_variants_and_have_the_figures_of_the_last_and_best_epoch():
    good = trial("good", final=0.9)
    good.history[1]["val_accuracy"] = 0.95
    rows = rows_of([trial("other"), good], ["good", "later", "other"])
    assert [row.variant for row in rows] == ["good", "other"]
    mean = rows[0].mean
    assert (mean["val_accuracy"], mean["best_val_accuracy"]) == (pytest.approx(0.9), 0.95)
    assert (mean["best_epoch"], mean["epochs"]) == (2, 3)
    assert mean["test_accuracy"] == pytest.approx(0.89)
    assert mean["images_per_second"] == pytest.approx(1000)
    assert rows[0].recall == (0.9, 0.5)
    assert rows[0].failure == ""


@given(st.lists(st.floats(0.2, 0.99), min_size=1, max_size=6))
def test_repetitions_are_averaged(finals):
    (row,) = rows_of([trial("a", seed, final=final) for seed, final in enumerate(finals)], ["a"])
    assert row.mean["val_accuracy"] == pytest.approx(np.mean(finals))
    if len(finals) > 1:
        assert row.std["val_accuracy"] == pytest.approx(np.std(finals, ddof=1))
        assert "±" in as_markdown([row])
    else:
        assert row.std == {}


def test_a_training_that_failed_says_so_and_does_not_enter_the_mean():
    reason = "the loss is nan in epoch 2"
    one, none = rows_of([trial("one"), trial("one", 1, failure=reason), trial("none", failure=reason)], ["one", "none"])
    assert one.mean["val_accuracy"] == pytest.approx(0.97)
    assert one.failure == f"1 of 2 failed: {reason}"
    assert none.mean == {}
    assert none.failure == f"failed: {reason}"
    lines = as_markdown([one, none]).splitlines()
    assert reason in lines[-1]
    assert len({line.count("|") for line in lines}) == 1


def test_columns_that_nothing_is_known_for_are_left_out():
    _, header = cells(rows_of([trial("a", tested=False)], ["a"]))
    assert "val accuracy" in header
    assert not {"test accuracy", "macro F1", ""} & set(header)


def test_the_csv_has_a_line_for_each_training():
    trials = [trial("a"), trial("a", 1), trial("b, c", failure='it "failed"')]
    lines = list(csv.DictReader(io.StringIO(as_csv(rows_of(trials, ["a", "b, c"])))))
    assert [(line["variant"], line["seed"], line["status"]) for line in lines] == [
        ("a", "0", "FINISHED"),
        ("a", "1", "FINISHED"),
        ("b, c", "0", "FAILED"),
    ]
    assert float(lines[1]["val_accuracy"]) == pytest.approx(0.97)
    assert (lines[2]["val_accuracy"], lines[2]["failure"]) == ("", 'it "failed"')


def test_the_json_is_strict_and_has_all_epochs():
    def refuse(name):
        raise AssertionError(name)

    rows = rows_of([trial("a"), trial("b", failure="nan")], ["a", "b"])
    a, b = json.loads(as_json(rows), parse_constant=refuse)["variants"]
    assert len(a["trials"][0]["history"]) == 3
    assert b["trials"][0]["history"][0]["loss"] is None
    assert b["failure"] == "failed: nan"
