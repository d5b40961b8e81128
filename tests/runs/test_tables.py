"""Columns, order and formats of tables of runs; what differs between two."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.errors import ConfigError
from convoy.runs import columns
from convoy.runs.difference import Environment, difference, differing
from convoy.runs.formats import Table, formatted, shown
from convoy.runs.weights import differing_layers
from convoy.tracking.run_record import RunRecord, lower_is_better

cells = st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), st.text(st.characters(exclude_characters="\r")))


def record(run_id="a" * 32, name="run", params=None, metrics=None, tags=None, rows=None):
    return RunRecord(run_id, name, "e", "FINISHED", 0, 1500, params or {}, metrics or {}, tags or {}, rows=rows or {})


@given(st.lists(st.tuples(cells, cells, cells), max_size=5))
def test_csv_and_json_hold_all_that_the_table_holds(rows):
    table = Table(["a", "b", "c"], [list(row) for row in rows])
    found = list(csv.reader(io.StringIO(formatted(table, "csv", "rows"))))
    assert found == [["a", "b", "c"], *[["" if cell is None else str(cell) for cell in row] for row in rows]]
    values = json.loads(formatted(table, "json", "rows"))["rows"]
    assert [list(each) for each in values] == [["a", "b", "c"]] * len(rows)
    for each, row in zip(values, rows, strict=True):
        for got, cell in zip(each.values(), row, strict=True):
            assert got == cell or (got is None and abs(cell) == float("inf"))


@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=5))
def test_markdown_has_a_line_for_each_row_and_as_many_cells(rows):
    table = Table(["a", "b", "c"], [list(row) for row in rows])
    lines = formatted(table, "markdown", "rows").split("\n")
    assert len(lines) == len(rows) + 3
    assert {line.replace("\\|", "").count("|") for line in lines[:-1]} == {4}


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        (0.98765, "0.9877"),
        (0.0, "0.0000"),
        (12345.678, "12,345.7"),
        (1e-5, "1e-05"),
        (3, "3"),
        ("a\nb", "a b"),
    ],
)
def test_what_people_read(cell, text):
    assert shown(cell) == text


@given(st.sets(st.text("0123456789abcdef", min_size=32, max_size=32), min_size=1, max_size=20))
def test_short_ids_tell_runs_apart(ids):
    short = columns.short_ids([record(run_id) for run_id in ids])
    assert len(set(short.values())) == len(ids)
    assert all(run_id.startswith(begin) and len(begin) >= 8 for run_id, begin in short.items())


def test_a_name_may_be_given_by_its_last_parts():
    known = ["training.seed", "training.optimizer.learning_rate", "source.path", "source.columns.path", "seed"]
    assert columns.chosen("learning_rate, optimizer.learning_rate,seed", known, "--params") == [
        "training.optimizer.learning_rate",
        "training.optimizer.learning_rate",
        "seed",
    ]
    with pytest.raises(ConfigError, match=r"--params: 'path' is ambiguous: source.columns.path or source.path"):
        columns.chosen("path", known, "--params")
    with pytest.raises(ConfigError, match=r"no run has 'training.sed'; did you mean 'training.seed'\?"):
        columns.chosen("training.sed", known, "--params")


def test_parameters_that_differ_are_columns_and_settings_of_the_machine_are_not():
    fields = {"model.name": "a", "training.seed": "1", "training.checkpoint.keep": "2", "spark.master": "x"}
    other = {name: value + "'" for name, value in fields.items()} | {"model.only_here": "1"}
    assert columns.differing_params([record(params=fields), record(params=other)]) == [
        *("model.name", "model.only_here", "training.seed")  # null is no parameter
    ]
    assert columns.differing_params([record(params=fields)] * 3) == []
    scoring = record(params={"scoring.input": "images"})
    assert columns.differing_params([record(params=fields), scoring]) == []


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=8), st.sampled_from(["val_accuracy", "val_loss"]))
def test_the_best_run_comes_first_and_runs_without_a_value_last(values, metric):
    runs = [record(str(i), metrics={} if value is None else {metric: value}) for i, value in enumerate(values)]
    ordered = [columns.value_of(run, metric, {}) for run in columns.by_metric(runs, metric, {})]
    known = [value for value in ordered if value is not None]
    assert known == sorted(known, reverse=not lower_is_better(metric))
    assert ordered[len(known) :] == [None] * (len(values) - len(known))


def test_numbers_among_parameters_are_ordered_as_numbers():
    values = ["10", "9", "0.5", "None", None, "1e-3"]
    runs = [record(str(i), params={} if value is None else {"p": value}) for i, value in enumerate(values)]
    ordered = [run.params.get("p") for run in columns.by_param(runs, "p")]
    assert ordered == ["1e-3", "0.5", "9", "10", "None", None]


def test_best_columns_are_looked_up_by_run():
    run = record("x" * 32, metrics={"val_loss": 0.5})
    table = columns.table([run], ["val_loss", "best_val_loss"], [], {"best_val_loss": {"x" * 32: 0.25}}, short=True)
    assert table.header[-2:] == ["val_loss", "best_val_loss"]
    assert table.rows[0][-2:] == [0.5, 0.25]
    assert table.rows[0][0] == "x" * 8
    assert table.rows[0][4] == 2  # seconds


@given(st.dictionaries(st.text(max_size=3), st.one_of(st.floats(), st.text(max_size=3)), max_size=5))
def test_a_run_does_not_differ_from_itself(values):
    assert differing(values, dict(values)) == {}
    assert differing(values, {}) == {name: (value, None) for name, value in values.items()}


def test_only_what_differs_is_told():
    first = record(
        params={"a": "1", "same": "x"},
        metrics={"loss": 0.5, "rank_0/loss": 1.0, "nan": float("nan")},
        tags={"dataset.version": "v1", "mlflow.source.git.commit": "c", "other": "1"},
        rows={"train": 10, "test": 2},
    )
    second = replace(
        first,
        params={"a": "2", "same": "x"},
        metrics={"loss": 0.25, "rank_0/loss": 2.0, "nan": float("nan")},
        tags={"dataset.version": "v2", "mlflow.source.git.commit": "c", "other": "2"},
        rows={"train": 11, "test": 2},
    )
    of_first, of_second = (
        Environment({"keras": "3.1", "a": "1"}, {"python": "3.11"}),
        Environment({"keras": "3.2"}, None),
    )
    found = difference(first, second, of_first, of_second)
    assert found.plain() == {
        "configuration": {"a": ["1", "2"]},
        "data": {"dataset.version": ["v1", "v2"], "train samples": [10, 11]},
        "packages": {"a": ["1", None], "keras": ["3.1", "3.2"]},
        "metrics": {"loss": [0.5, 0.25]},
    }
    assert found.unknown == ("machine",)
    assert len(found.table("x", "y", short=True).rows) == 6
    assert difference(first, first, of_first, of_first).sections == {}


weights = {"c1/kernel": np.ones((3, 3, 1, 2), np.float32), "c1/bias": np.zeros(2, np.float32), "out/kernel": np.ones(4)}


def test_the_same_weights_do_not_differ():
    assert differing_layers(weights, {name: value.copy() for name, value in weights.items()}) == []
    nan = {"a": np.array([np.nan, 1.0], np.float32)}
    assert differing_layers(nan, {"a": nan["a"].copy()}) == []


@given(st.sampled_from(sorted(weights)), st.integers(0, 100), st.floats(2**-20, 4, width=32))
def test_a_value_that_differs_is_found_with_its_layer(path, place, amount):
    other = {name: value.copy() for name, value in weights.items()}
    place %= other[path].size
    other[path].reshape(-1)[place] += amount
    (found,) = differing_layers(weights, other)
    assert (found.layer, found.different) == (path.rpartition("/")[0], 1)
    assert found.largest == pytest.approx(amount, rel=1e-5)
    assert found.values == sum(value.size for name, value in weights.items() if name.startswith(found.layer))


def test_zeros_of_both_signs_are_not_the_same_bits():
    (found,) = differing_layers({"a/b": np.zeros(3)}, {"a/b": np.array([0.0, -0.0, 0.0])})
    assert (found.different, found.largest, found.relative) == (1, 0.0, 0.0)


@pytest.mark.parametrize("other", [np.ones((2, 2), np.float32), np.ones(4, np.float64), None])
def test_layers_that_are_not_comparable_are_named(other):
    first = {"a/k": np.ones(4, np.float32)}
    (found,) = differing_layers(first, {} if other is None else {"a/k": other})
    assert (found.layer, found.different, found.plain()["largest"]) == ("a", 4, None)
