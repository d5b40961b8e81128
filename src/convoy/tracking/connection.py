"""The tracking store: connection, checks, and the location of an experiment's artifacts."""

import fcntl
import logging
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import requests
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

from convoy.config import TrackingConfig
from convoy.config.tracking import ID_PREFIX, overridden, setting_of
from convoy.console import say
from convoy.errors import TrackingError
from convoy.tracking.auth_errors import auth_errors_explained, refusal
from convoy.tracking.redaction import without_secrets
from convoy.tracking.sqlite import absolute, sqlite_file

logging.getLogger("mlflow").setLevel(os.environ.get("MLFLOW_LOGGING_LEVEL") or "INFO")  # MLflow 2 does not read it

# A busy server answers late; one that is down refuses at once. MLflow's defaults are 120 s and 7 retries: a server that
# hangs would block a call for a quarter of an hour.
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_REQUESTS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", _RETRIES: "4"}
_SET_BY_MLFLOW = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
_said = list[str]()
ANSWERS = "answers"
_LOCK_SECONDS = 20  # that a SQLite file may be locked by another process
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # the UI's pages for model training


def connect(uri: str, registry_uri: str | None = None, create: bool = False, read_only: bool = False) -> None:
    """Point MLflow at a tracking store, after checking that it answers.

    The check is a request of MLflow's own client, so that its settings apply: credentials, certificates, TLS, proxies.

    Args:
        uri: ``sqlite:///file.db``, ``http(s)://server``, ``databricks``.
        registry_uri: URI of the model registry, if it is a different one.
        create: Create a SQLite file that does not exist, or the tables in one that has none.
        read_only: The store is only read, so its file does not have to be writable.

    Raises:
        TrackingError: The store does not answer, rejects the credentials, or is of an unsupported kind.
    """
    scheme, name = urlsplit(uri).scheme, store_name(uri)
    if scheme == "file" or (not scheme and uri not in ("databricks", "databricks-uc")):
        folder = "" if scheme else f"{uri.rstrip('/')}/"
        raise TrackingError(f"{name} is a folder, which MLflow 3 does not take; use sqlite:///{folder}mlflow.db")
    if file := sqlite_file(uri):
        if not create:
            _check_is_store(name, file)
        if not read_only:
            _check_writable(name, file)
    if {scheme, urlsplit(registry_uri or "").scheme} & {"http", "https"}:
        for variable, value in _REQUESTS.items():
            os.environ.setdefault(variable, value)
    with _environment(dict.fromkeys(_SET_BY_MLFLOW)):  # the user's own values have a meaning for later calls
        mlflow.set_tracking_uri(absolute(uri))
        mlflow.set_registry_uri(absolute(registry_uri or uri))
    try:
        alone = _alone(None if read_only else sqlite_file(uri))
        with alone, _quiet(), _environment(_once()):
            client = mlflow.MlflowClient()
            client.search_experiments(max_results=1)
            if not read_only and sqlite_file(registry_uri or uri):  # is opened here, where it prints nothing
                client.search_registered_models(max_results=1)
    except Exception as error:
        if refused := refusal(error, uri):
            raise refused from None
        raise TrackingError(f"{name} {_problem(error)}") from None
    if not read_only and registry_uri and registry_uri != uri and not sqlite_file(registry_uri):
        _check_registry(registry_uri)
    _say_which(uri, registry_uri)


def _once() -> dict[str, str | None]:
    """Return the variables for a request that is not repeated, unless the user wants that."""
    own = os.environ.get(_RETRIES, _REQUESTS[_RETRIES]) != _REQUESTS[_RETRIES]
    return {} if own else {_RETRIES: "0"}


def _check_registry(uri: str) -> None:
    """Raise an error unless a model registry of its own answers: a model would be registered after the training."""
    try:
        with _quiet(), _environment(_once()):
            mlflow.MlflowClient().search_registered_models(max_results=1)
    except Exception as error:
        if refused := refusal(error, uri, "registry_uri"):
            raise refused from None
        name = f"{setting_of('registry_uri', uri)} {without_secrets('tracking.registry_uri', uri)!r}"
        raise TrackingError(f"{name} {_problem(error, 'leave out tracking.registry_uri')}") from None


def store_name(uri: str) -> str:
    """Return a tracking store for messages: the setting that it comes from, and its URI without credentials."""
    return f"{setting_of('uri', uri)} {without_secrets('tracking.uri', uri)!r}"


def place_of(tracking: TrackingConfig) -> str:
    """Return where a run is, for messages: its experiment and the tracking store, without credentials."""
    setting = setting_of("experiment", tracking.experiment)
    experiment = f"experiment {tracking.experiment!r}{f' ({setting})' if setting.startswith('MLFLOW_') else ''}"
    return f"in {experiment} at {without_secrets('uri', tracking.uri)}"


def _say_which(uri: str, registry_uri: str | None) -> None:
    """Print which store is used where the environment names one, once until it changes."""
    lines = []
    for field, value, what in (("uri", uri, "tracking"), ("registry_uri", registry_uri, "model registry")):
        setting, other = setting_of(field, value), overridden(field, value)
        shown = without_secrets("uri", value or uri)
        if setting.startswith("MLFLOW_"):
            lines.append(f"{what}: {shown} (from {setting})")
        elif other:
            lines.append(f"{what}: {shown} (from tracking.{field}, which takes precedence over {other})")
    if lines and lines != _said:
        _said[:] = lines
        for line in lines:
            say(line)


def _problem(error: Exception, instead: str = "use a local file: --tracking.uri sqlite:///mlflow.db") -> str:
    """Return the reason why a store cannot be used, and how to fix it."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    start = (
        f"start the server, or {instead} (for a server that starts with the first request, raise"
        f" MLFLOW_HTTP_REQUEST_TIMEOUT or {_RETRIES})"
    )
    text = first_line(error)
    if any(isinstance(each, requests.exceptions.SSLError) for each in chain):
        reason = re.search(r"(certificate verify failed[^()]*|alert [\w ]+)", str(error))
        return (
            f"fails the TLS handshake ({reason[1].strip(' :') if reason else text[:200]}); set"
            " MLFLOW_TRACKING_SERVER_CERT_PATH to the certificate of its CA, and MLFLOW_TRACKING_CLIENT_CERT_PATH if"
            " it demands a client certificate"
        )
    if "certificate" in text and any(isinstance(each, OSError) for each in chain[1:]):
        return f"cannot be connected to: {text.rpartition('exception ')[2][:200]}; correct the path of the certificate"
    status = re.search(r"(?:error code|too many) (5\d\d)", str(error))
    away = any(isinstance(each, requests.Timeout | requests.ConnectionError) for each in chain)
    if status or away:
        what = "ReadTimeout" if "timed out" in str(error) else "ConnectionError"
        seconds = os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "some")
        return f"does not answer within {seconds} s ({f'status {status[1]}' if status else what}); {start}"
    if getattr(error, "error_code", "") == "ENDPOINT_NOT_FOUND":
        return "has no MLflow API (status 404); expected the address of a server, with its path prefix if it has one"
    if isinstance(error, ValueError):
        return (
            "does not answer with JSON, but e.g. with a login page; correct the address, or give credentials:"
            " MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    return f"is not a readable MLflow store: {text[:300]}"


def _check_is_store(name: str, file: Path) -> None:
    """Raise an error unless a SQLite file is an MLflow store: MLflow would create its tables in any database."""
    if not file.exists():
        raise TrackingError(f"{name} does not exist; run jobs/train.py first, or correct the path")
    try:
        opened = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=_LOCK_SECONDS)
        with closing(opened) as database:
            tables = {table for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise TrackingError(f"{name} is not a readable MLflow store: {error}") from None
    if "runs" not in tables:
        raise TrackingError(f"{name} is not an MLflow store (it has no table runs); correct the path")


def _check_writable(name: str, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "ab"):
            pass
    except OSError as error:
        raise TrackingError(f"{name} cannot be written to: {error.strerror}; fix it or choose another") from None


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
        return ANSWERS
    nearest = next(folder for folder in file.absolute().parents if folder.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise TrackingError(f"{store_name(uri)} cannot be created in {nearest}; fix it or choose another")
    return "will be created by the first run"


def find_experiment(name: str) -> Experiment | None:
    """Return the experiment of that name, or of the id after ``id:``; None if there is none."""
    client = mlflow.MlflowClient()
    if not name.startswith(ID_PREFIX):
        return client.get_experiment_by_name(name)
    try:
        return client.get_experiment(name.removeprefix(ID_PREFIX))
    except MlflowException as error:
        if refusal(error):
            raise
        return None


@auth_errors_explained()
def experiment_id(name: str) -> str:
    """Return the id of an experiment, created if missing; a SQLite store keeps artifacts beside its file.

    Args:
        name: Its name, or ``id:`` and the id of an existing experiment.
    """
    client, setting = mlflow.MlflowClient(), setting_of("experiment", name)
    found = find_experiment(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            raise TrackingError(f"{setting} {name!r} was deleted; restore it or choose another name")
        return str(found.experiment_id)
    if name.startswith(ID_PREFIX):
        raise TrackingError(f"{setting} {name!r}: there is no experiment with that id at {mlflow.get_tracking_uri()}")
    file = sqlite_file(mlflow.get_tracking_uri())
    location = (file.parent.absolute() / "mlartifacts").as_uri() if file else None
    try:
        return str(client.create_experiment(name, artifact_location=location, tags=_EXPERIMENT_TAGS))
    except MlflowException as error:
        if error.error_code == "RESOURCE_ALREADY_EXISTS":  # another job created it first
            return experiment_id(name)
        if refusal(error):
            raise
        raise TrackingError(f"{setting} {name!r} cannot be created: {first_line(error)}") from None


@contextmanager
def _environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables for the block (None: leave one as it is), and restore them after it."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: value for name, value in values.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress MLflow's messages about each step of creating the tables, for which it sets up its own logging."""
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
