"""The tracking store: where it is, whether it is there or could be made."""

import mlflow
import pytest

from convoy.errors import TrackingError
from convoy.tracking import connection


def test_a_store_that_is_not_there_yet_is_not_made(tmp_path):
    assert connection.look(f"sqlite:///{tmp_path}/a/b/mlflow.db") == "will be created by the first run"
    assert not list(tmp_path.iterdir())


def test_a_store_that_is_there_answers(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    connection.connect(uri, create=True)
    assert connection.look(uri) == "answers"


def test_a_store_that_cannot_be_made_or_read_is_refused(tmp_path):
    (tmp_path / "file").write_text("no database")
    with pytest.raises(TrackingError, match=rf"cannot be created in {tmp_path}/file; fix it"):
        connection.look(f"sqlite:///{tmp_path}/file/mlflow.db")
    with pytest.raises(TrackingError, match="is not a readable MLflow store"):
        connection.look(f"sqlite:///{tmp_path}/file")


def test_a_relative_file_is_that_of_the_directory_at_the_time(tmp_path, monkeypatch):
    names = {}
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        monkeypatch.chdir(folder)
        connection.connect("sqlite:///mlflow.db", create=True)
        connection.experiment_id(folder.name)
    for folder in (tmp_path / "one", tmp_path / "two"):
        monkeypatch.chdir(folder)
        connection.connect("sqlite:///mlflow.db")
        names[folder.name] = {found.name for found in mlflow.MlflowClient().search_experiments()} - {"Default"}
    assert names == {"one": {"one"}, "two": {"two"}}


def test_the_home_directory_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    connection.connect("sqlite:///~/mlflow.db", create=True)
    assert (tmp_path / "mlflow.db").stat().st_size > 0
