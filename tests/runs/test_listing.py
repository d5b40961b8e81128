"""Listing reads SQLite's tables itself: it has to find what MLflow finds."""

import math
import sqlite3

import mlflow
import pytest

from convoy.errors import ConfigError, TrackingError
from convoy.tracking import listing, search


def comparable(runs):
    found = []
    for run in runs:
        values = {**vars(run), "metrics": {name: repr(value) for name, value in run.metrics.items()}}
        values.pop("rows")
        found.append(values)
    return sorted(found, key=lambda values: values["run_id"])


@pytest.mark.parametrize("experiment", [None, "curves", "other"])
@pytest.mark.parametrize(
    ("matching", "count"),
    [
        (None, None),
        ("metrics.val_accuracy > 0.6", 2),
        ("metrics.val_accuracy >= 0.9 and params.`training.optimizer.learning_rate` = '0.1'", 1),
        ("params.`training.seed` != '2'", 2),
        ("tags.`dataset.version` = 'v2'", 2),
        ("attributes.status = 'FAILED'", 1),
        ("attributes.run_name LIKE '%l%'", 2),
        ("run_name = 'peak' and metrics.best_val_accuracy > 0.9", 1),
        ("datasets.name = 'animals'", 0),
    ],
)
def test_what_is_listed_is_what_mlflow_finds(runs, experiment, matching, count):
    runs.connect()
    found = listing.all_runs(runs.uri, experiment, matching)
    assert comparable(found) == comparable(search.search(experiment, matching))
    if count is not None:
        assert len(found) == (count if experiment != "other" else 0)
    assert [run.started for run in found] == sorted((run.started for run in found), reverse=True)


def test_what_was_deleted_is_not_listed(own):
    client = mlflow.MlflowClient()
    client.delete_run(own.ids["up"])
    client.delete_experiment(client.get_experiment_by_name("other").experiment_id)
    assert {run.name for run in listing.all_runs(own.uri)} == {"peak", "low", "failed"}
    assert comparable(listing.all_runs(own.uri)) == comparable(search.search(None, None))


@pytest.mark.parametrize("logged", [True, False], ids=["logged", "from histories"])
def test_best_values_are_those_of_the_whole_history(own, logged):
    if not logged:
        with sqlite3.connect(own.folder / "mlflow.db") as database:
            for table in ("metrics", "latest_metrics"):
                database.execute(f"DELETE FROM {table} WHERE key LIKE 'best_%'")
    runs = listing.all_runs(own.uri, "curves")
    assert any("best_val_loss" in run.metrics for run in runs) is logged
    accuracy = {own.ids["up"]: 0.9, own.ids["peak"]: 0.95, own.ids["low"]: 0.3}
    assert listing.best_values(own.uri, runs, "val_accuracy") == accuracy
    assert search.best_of_histories(list(accuracy), "val_accuracy", max) == accuracy  # as of a server
    loss = {run_id: pytest.approx(1 - value) for run_id, value in accuracy.items()}
    found = listing.best_values(own.uri, runs, "val_loss")
    assert {run_id: found[run_id] for run_id in loss} == loss
    assert search.best_of_histories(list(loss), "val_loss", min) == loss


def test_metrics_that_are_no_numbers_are_seen_as_such(runs):
    (failed,) = [run for run in listing.all_runs(runs.uri) if run.name == "failed"]
    assert math.isnan(failed.metrics["val_accuracy"])
    assert listing.best_values(runs.uri, [failed], "val_accuracy") == {}


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(TrackingError, match="is not a readable MLflow store"):
        listing.all_runs(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_another_database_is_told(tmp_path):
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE a (b)").connection.close()
    with pytest.raises(TrackingError, match="no such table"):
        listing.all_runs(f"sqlite:///{tmp_path}/other.db")
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(TrackingError, match="not a database"):
        listing.all_runs(f"sqlite:///{tmp_path}/text.db")


def test_experiments_and_filters_that_there_are_not(runs):
    with pytest.raises(TrackingError, match=r"no experiment 'curve' .* it has Default, curves, other; did you mean"):
        listing.all_runs(runs.uri, "curve")
    with pytest.raises(ConfigError, match=r"'metrics.a >' is not a valid filter: .* expected e.g."):
        listing.all_runs(runs.uri, None, "metrics.a >")
    runs.connect()
    with pytest.raises(ConfigError, match="is not a valid filter"):
        search.search(None, "metrics.a >")


def test_a_run_is_found_by_its_id_the_beginning_of_it_or_its_name(runs):
    runs.connect()
    for name, run_id in runs.ids.items():
        for reference in (run_id, run_id[:12], name):
            assert search.find(reference).run_id == run_id
    found = search.find("up")
    (listed,) = [run for run in listing.all_runs(runs.uri) if run.name == "up"]
    assert comparable([found]) == comparable([listed])


@pytest.mark.parametrize("reference", ["nobody", "0" * 32, 'it\'s "quoted"', "%"])
def test_no_run_is_one_line(runs, reference):
    runs.connect()
    with pytest.raises(TrackingError, match=r"there is no run .* `convoy runs list`"):
        search.find(reference)


def test_several_runs_are_told_apart(own):
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("curves").experiment_id
    twin = client.create_run(experiment, run_name="up").info.run_id
    with pytest.raises(TrackingError) as error:
        search.find("up")
    assert twin[:12] in str(error.value)
    assert own.ids["up"][:12] in str(error.value)
    first_letters = [run_id[0] for run_id in [*own.ids.values(), twin]]
    for letter in set(first_letters):
        if first_letters.count(letter) > 1:
            with pytest.raises(TrackingError, match=r"matches several runs of "):
                search.find(letter)


def test_files_of_a_run(own):
    run = search.find("up")
    mlflow.MlflowClient().log_text(run.run_id, "π", "a/b.txt")
    assert search.artifact_text(run.run_id, "a/b.txt") == "π"
    assert search.artifact_text(run.run_id, "a/c.txt") is None
    assert search.artifact_text(run.run_id, "none/c.txt") is None
    assert search.artifact_json(run.run_id, "a/b.txt") is None
