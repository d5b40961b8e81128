"""Runs of a store: all of them, those that match a filter, one by its name; their best values and their files."""

import gc
import math
import os
import sqlite3
from pathlib import Path

import mlflow
import pytest

from convoy.errors import ConfigError, TrackingError
from convoy.tracking import connection, search
from convoy.tracking.run_record import RunRecord


def comparable(run: RunRecord) -> dict:
    return {**vars(run), "metrics": {name: repr(value) for name, value in run.metrics.items()}}


CURVES = {"up", "peak", "low", "failed"}


@pytest.mark.parametrize(
    ("matching", "names"),
    [
        (None, CURVES),
        ("metrics.val_accuracy > 0.6", {"up", "peak"}),
        ("metrics.val_accuracy >= 0.9 and params.`training.optimizer.learning_rate` = '0.1'", {"up"}),
        ("params.`training.seed` != '2'", {"peak", "low"}),
        ("tags.`dataset.version` = 'v2'", {"peak", "low"}),
        ("attributes.status = 'FAILED'", {"failed"}),
        ("attributes.run_name LIKE '%l%'", {"low", "failed"}),
        ("run_name = 'peak' and metrics.best_val_accuracy > 0.9", {"peak"}),
        ("datasets.name = 'animals'", set()),
    ],
)
def test_runs_of_an_experiment_that_match_a_filter_are_found_newest_first(runs, matching, names):
    runs.connect()
    found = search.all_runs("curves", matching)
    assert {run.name for run in found} == names
    assert {run.run_id for run in found} == {runs.ids[name] for name in names}
    assert {run.experiment for run in found} <= {"curves"}
    assert [run.started for run in found] == sorted((run.started for run in found), reverse=True)


def test_without_an_experiment_the_runs_of_all_are_found(runs):
    runs.connect()
    assert {run.name: run.experiment for run in search.all_runs()} == {
        **dict.fromkeys(CURVES, "curves"),
        "goes on": "other",
    }


def test_more_runs_than_a_page_are_found_once_each(own, monkeypatch):
    monkeypatch.setattr(search, "_PAGE", 2)
    assert sorted(run.run_id for run in search.all_runs()) == sorted(own.ids.values())


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(runs, enabled):
    runs.connect()
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        search.all_runs()
        assert gc.isenabled() is enabled
        with pytest.raises(TrackingError):
            search.all_runs("curve")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_what_was_deleted_is_not_listed(own):
    client = mlflow.MlflowClient()
    client.delete_run(own.ids["up"])
    client.delete_experiment(client.get_experiment_by_name("other").experiment_id)
    assert {run.name for run in search.all_runs()} == {"peak", "low", "failed"}


@pytest.mark.parametrize("logged", [True, False], ids=["logged", "from histories"])
def test_best_values_are_those_of_the_whole_history(own, logged):
    if not logged:
        with sqlite3.connect(own.folder / "mlflow.db") as database:
            for table in ("metrics", "latest_metrics"):
                database.execute(f"DELETE FROM {table} WHERE key LIKE 'best_%'")
    runs = search.all_runs("curves")
    assert any("best_val_loss" in run.metrics for run in runs) is logged
    accuracy = {own.ids["up"]: 0.9, own.ids["peak"]: 0.95, own.ids["low"]: 0.3}
    assert search.best_values(runs, "val_accuracy") == accuracy
    found = search.best_values(runs, "val_loss")
    assert {run_id: found[run_id] for run_id in accuracy} == {
        run_id: pytest.approx(1 - value) for run_id, value in accuracy.items()
    }


def test_metrics_that_are_no_numbers_are_seen_as_such(runs):
    runs.connect()
    (failed,) = [run for run in search.all_runs() if run.name == "failed"]
    assert math.isnan(failed.metrics["val_accuracy"])
    assert search.best_values([failed], "val_accuracy") == {}


@pytest.mark.parametrize("read_only", [True, False])
def test_only_an_mlflow_store_is_opened_and_nothing_is_written_to_other_files(tmp_path, read_only):
    def refused(name: str) -> str:
        file = tmp_path / name
        before = file.read_bytes() if file.exists() else None
        with pytest.raises(TrackingError) as error:
            connection.connect(f"sqlite:///{file}", read_only=read_only)
        assert (file.read_bytes() if file.exists() else None) == before
        return str(error.value)

    assert "does not exist" in refused("none.db")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE a (b)").connection.close()
    assert "is not an MLflow store" in refused("other.db")
    (tmp_path / "empty.db").touch()
    assert "is not an MLflow store" in refused("empty.db")
    (tmp_path / "text.db").write_text("no database" * 100)
    assert "not a database" in refused("text.db")


def test_a_store_is_read_without_writing_to_its_folder(runs, tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    file = folder / "mlflow.db"
    file.write_bytes(Path(runs.folder / "mlflow.db").read_bytes())
    before = file.stat()
    file.chmod(0o444)
    folder.chmod(0o555)
    try:
        connection.connect(f"sqlite:///{file}", read_only=True)
        assert {run.name for run in search.all_runs("curves")} == CURVES
        assert os.listdir(folder) == ["mlflow.db"]
        assert file.stat().st_mtime_ns == before.st_mtime_ns
    finally:
        folder.chmod(0o755)


def test_experiments_and_filters_that_there_are_not(runs):
    runs.connect()
    with pytest.raises(TrackingError, match=r"no experiment 'curve' .* it has Default, curves, other; did you mean"):
        search.all_runs("curve")
    with pytest.raises(ConfigError, match=r"'metrics.a >' is not a valid filter: .* expected e.g."):
        search.all_runs(None, "metrics.a >")


def test_a_run_is_found_by_its_id_the_beginning_of_it_or_its_name(runs):
    runs.connect()
    for name, run_id in runs.ids.items():
        for reference in (run_id, run_id[:12], name):
            assert search.find(reference).run_id == run_id
    found = search.find("up")
    (listed,) = [run for run in search.all_runs() if run.name == "up"]
    assert comparable(found) == comparable(listed)


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
