"""The tracking store: connection, checks, and the location of an experiment's artifacts."""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import requests
from mlflow.exceptions import MlflowException

from convoy.errors import TrackingError
from convoy.tracking.auth_errors import auth_errors_explained, refusal
from convoy.tracking.sqlite import absolute, sqlite_file

logging.getLogger("mlflow").setLevel(os.environ.get("MLFLOW_LOGGING_LEVEL") or "INFO")  # MLflow 2 does not read it

_TIMEOUT_SECONDS = 20  # a busy server answers late; one that is down refuses at once
# MLflow's defaults are 120 s and 7 retries: a server that hangs would block a call for a quarter of an hour.
_REQUESTS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4"}
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # the UI's pages for model training


def connect(uri: str, registry_uri: str | None = None, create: bool = False, read_only: bool = False) -> None:
    """Point MLflow at a tracking store, after checking that it answers.

    Args:
        uri: ``sqlite:///file.db``, ``http(s)://server``, ``databricks``.
        registry_uri: URI of the model registry, if it is a different one.
        create: Create a SQLite file that does not exist, or the tables in one that has none.
        read_only: The store is only read, so its file does not have to be writable.

    Raises:
        TrackingError: The store does not answer, rejects the credentials, or is of an unsupported kind.
    """
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        for name, value in _REQUESTS.items():
            os.environ.setdefault(name, value)
        try:
            requests.get(uri, timeout=_TIMEOUT_SECONDS).raise_for_status()
        except requests.RequestException as error:
            status = getattr(error.response, "status_code", 0)
            if not 400 <= status < 500:  # 4xx: a store may have no page at its root
                what = f"status {status}" if status else type(error).__name__
                raise TrackingError(
                    f"tracking.uri {uri!r} does not answer within {_TIMEOUT_SECONDS} s ({what}); start the server, or"
                    " use a local file: --tracking.uri sqlite:///mlflow.db"
                ) from None
    elif scheme == "file" or (not scheme and uri not in ("databricks", "databricks-uc")):
        raise TrackingError(
            f"tracking.uri {uri!r} is a folder, which MLflow 3 does not take; use sqlite:///{uri.rstrip('/')}/mlflow.db"
            if not scheme
            else f"tracking.uri {uri!r} is a folder, which MLflow 3 does not take; use sqlite:///mlflow.db"
        )
    elif file := sqlite_file(uri):
        if not create:
            _check_is_store(uri, file)
        if not read_only:
            _check_writable(uri, file)
    mlflow.set_tracking_uri(absolute(uri))
    mlflow.set_registry_uri(absolute(registry_uri or uri))
    try:
        with _alone(None if read_only else sqlite_file(uri)), _quiet():
            mlflow.MlflowClient().search_experiments(max_results=1)
    except Exception as error:
        if refused := refusal(error, uri):
            raise refused from None
        raise TrackingError(f"tracking.uri {uri!r} is not a readable MLflow store: {first_line(error)}") from None


def _check_is_store(uri: str, file: Path) -> None:
    """Raise an error unless a SQLite file is an MLflow store: MLflow would create its tables in any database."""
    if not file.exists():
        raise TrackingError(f"tracking.uri {uri!r} does not exist; run jobs/train.py first, or correct the path")
    try:
        opened = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=_TIMEOUT_SECONDS)
        with closing(opened) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise TrackingError(f"tracking.uri {uri!r} is not a readable MLflow store: {error}") from None
    if "runs" not in tables:
        raise TrackingError(f"tracking.uri {uri!r} is not an MLflow store (it has no table runs); correct the path")


def _check_writable(uri: str, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "ab"):
            pass
    except OSError as error:
        raise TrackingError(
            f"tracking.uri {uri!r} cannot be written to: {error.strerror}; fix it or choose another"
        ) from None


def look(uri: str) -> str:
    """Check whether a store is available, without creating one.

    Returns:
        The state of a usable store, for people.

    Raises:
        TrackingError: It does not answer, or cannot be created.
    """
    file = sqlite_file(uri)
    if file is None or file.exists():
        connect(uri)
        return "answers"
    nearest = next(folder for folder in file.absolute().parents if folder.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise TrackingError(f"tracking.uri {uri!r} cannot be created in {nearest}; fix it or choose another")
    return "will be created by the first run"


@auth_errors_explained()
def experiment_id(name: str) -> str:
    """Return the id of an experiment, created if missing; a SQLite store keeps artifacts beside its file."""
    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            raise TrackingError(f"tracking.experiment {name!r} was deleted; restore it or choose another name")
        return str(found.experiment_id)
    file = sqlite_file(mlflow.get_tracking_uri())
    location = (file.parent.absolute() / "mlartifacts").as_uri() if file else None
    try:
        return str(client.create_experiment(name, artifact_location=location, tags=_EXPERIMENT_TAGS))
    except MlflowException as error:
        if error.error_code == "RESOURCE_ALREADY_EXISTS":  # another job created it first
            return experiment_id(name)
        if refusal(error):
            raise
        raise TrackingError(f"tracking.experiment {name!r} cannot be created: {first_line(error)}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress MLflow 2's messages about each step of creating the tables; it sets up its own logging for them."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def _alone(file: Path | None) -> Iterator[None]:
    """Prevent two jobs from creating the tables of one SQLite file at the same time, which MLflow does not do."""
    if file is None:
        yield
        return
    with open(file.with_name(f".{file.name}.lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
