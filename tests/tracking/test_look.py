"""Whether a tracking store is there, or could be made, without making one."""

import pytest

from convoy.errors import TrackingError
from convoy.tracking import store


def test_a_store_that_is_not_there_yet_is_not_made(tmp_path):
    assert store.look(f"sqlite:///{tmp_path}/a/b/mlflow.db") == "will be made by the first run"
    assert not list(tmp_path.iterdir())


def test_a_store_that_is_there_answers(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    store.connect(uri, create=True)
    assert store.look(uri) == "answers"


def test_a_store_that_cannot_be_made_or_read_is_refused(tmp_path):
    (tmp_path / "file").write_text("no database")
    with pytest.raises(TrackingError, match=rf"cannot be made in {tmp_path}/file; mend it"):
        store.look(f"sqlite:///{tmp_path}/file/mlflow.db")
    with pytest.raises(TrackingError, match="is no MLflow store that can be read"):
        store.look(f"sqlite:///{tmp_path}/file")
