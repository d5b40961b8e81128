"""Checks, before a training, that the driver can write to the artifact store of an experiment."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow

from convoy.errors import ConvoyError, TrackingError
from convoy.tracking.auth_errors import refusal
from convoy.tracking.connection import find_experiment, first_line
from convoy.tracking.redaction import without_environment, without_secrets

# Scheme -> (module that MLflow imports for it, package that has the module).
_MODULES = {
    "s3": ("boto3", "boto3"),
    "r2": ("boto3", "boto3"),
    "b2": ("boto3", "boto3"),
    "gs": ("google.cloud.storage", "google-cloud-storage"),
    "wasbs": ("azure.storage.blob", "azure-storage-blob azure-identity"),
    "abfss": ("azure.storage.filedatalake", "azure-storage-file-datalake azure-identity"),
    "sftp": ("pysftp", "pysftp"),
}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MEND = (
    "give the driver access, or start the server with --artifacts-destination, so that files go through it, and use"
    " another tracking.experiment: an existing one keeps its location"
)


def check_artifact_store(experiment_id: str) -> None:
    """Raise an error if the driver cannot write an experiment's artifacts, as far as it shows without writing.

    Args:
        experiment_id: Id of the experiment.

    Raises:
        TrackingError: A package is missing, or the location is a folder that cannot be written to or that is on the
            server's machine only.
    """
    location = mlflow.MlflowClient().get_experiment(experiment_id).artifact_location
    if problem := problem_of(str(location), mlflow.get_tracking_uri()):
        shown = without_secrets("uri", str(location))
        raise TrackingError(f"the artifact location {shown!r} of the experiment {problem}; {_MEND}")


def check_experiment(name: str) -> None:
    """Raise an error if the driver cannot write the artifacts of an experiment, if it exists.

    Args:
        name: As in ``tracking.experiment``.
    """
    if (found := find_experiment(name)) is not None:
        check_artifact_store(found.experiment_id)


def problem_of(location: str, tracking_uri: str) -> str | None:
    """Return why artifacts cannot be written to a location; None if nothing speaks against it.

    Args:
        location: The experiment's artifact location: a URI or a path.
        tracking_uri: The tracking store.
    """
    scheme = urlsplit(location).scheme
    if scheme in _MODULES:
        module, package = _MODULES[scheme]
        return None if _installed(module) else f"needs a package that is not installed (pip install {package})"
    if scheme not in ("", "file"):
        return None
    folder = Path(unquote(urlsplit(location).path) if scheme else location).absolute()
    server = urlsplit(tracking_uri)
    if server.scheme in ("http", "https") and server.hostname not in _LOOPBACK and not folder.parent.exists():
        return f"is a folder on the machine of the server {server.hostname}, which does not exist on this one"
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        return f"cannot be written to: {nearest} is {'read-only for this user' if nearest.is_dir() else 'a file'}"
    return None


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # of a parent package
        return False


@contextmanager
def first_artifacts(run_id: str) -> Iterator[None]:
    """Explain what fails inside the block, in which the first artifacts of a run are written.

    Raises:
        TrackingError: They cannot be written.
    """
    try:
        yield
    except ConvoyError:
        raise
    except Exception as error:  # of the store's own library
        if refusal(error):
            raise
        location = without_secrets("uri", str(mlflow.MlflowClient().get_run(run_id).info.artifact_uri))
        reason = without_environment(f"{type(error).__name__}: {first_line(error)[:300]}")
        raise TrackingError(f"artifacts cannot be written to {location} ({reason}); {_MEND}") from None
