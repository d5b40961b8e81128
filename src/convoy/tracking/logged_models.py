"""All differences between MLflow 2 and MLflow 3 for models.

In MLflow 3 a logged model has an id (``models:/m-...``), its own page and its own metrics; in MLflow 2 it is a folder
of its run (``runs:/<id>/model``). Databricks Runtime 15.4 LTS ML has MLflow 2.13. Client and server may be of different
versions: a model has an id only if both are of MLflow 3.
"""

import contextlib
import json
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import mlflow
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
from packaging.version import Version

_NOTE = "mlflow.note.content"  # the same as for runs
_VERSIONS = "mlflow.modelVersions"
_NO_ID = "m-" + 32 * "0"
HAVE_IDS = Version(mlflow.__version__).major >= 3
"""Whether models have ids in the installed MLflow."""
_server_has_ids: dict[str, bool] = {}


def have_ids() -> bool:
    """Return whether models have ids in the installed MLflow and in the current tracking store.

    A server of MLflow 2 has no such endpoint; one request per store detects this.

    Raises:
        MlflowException: The server does not answer, or rejects the credentials.
    """
    uri = mlflow.get_tracking_uri()
    if not HAVE_IDS or urlsplit(uri).scheme not in ("http", "https"):
        return HAVE_IDS
    if uri not in _server_has_ids:
        try:
            mlflow.MlflowClient().get_logged_model(_NO_ID)
            _server_has_ids[uri] = True
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # the endpoint exists, the model does not
                _server_has_ids[uri] = True
            elif error.error_code == "ENDPOINT_NOT_FOUND" or "404" in str(error) or "Not Found" in str(error):
                _server_has_ids[uri] = False
            else:
                raise
    return _server_has_ids[uri]


def log(flavor: ModuleType, name: str, **options: Any) -> str:
    """Log a model to the active run, in a flavour whose ``save_model`` gets the options; return its URI."""
    if have_ids():
        # Validation would load the network once more, and put its code on sys.path.
        info = Model.log(None, flavor=flavor, name=name, validate_serving_input=False, **options)
    elif HAVE_IDS:
        return _log_to_run(flavor, name, **options)
    else:
        info = Model.log(name, flavor=flavor, **options)
    return str(info.model_uri)


def _log_to_run(flavor: ModuleType, name: str, *, metadata: dict[str, Any], **options: Any) -> str:
    """Log a model as MLflow 2 does: MLflow 3's ``Model.log`` always creates a model with an id."""
    client, run = mlflow.MlflowClient(), mlflow.active_run()
    assert run is not None
    model = Model(artifact_path=name, run_id=run.info.run_id, metadata=metadata)
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        path = Path(folder) / name
        flavor.save_model(path=str(path), mlflow_model=model, **options)
        client.log_artifacts(run.info.run_id, str(path), name)
    with contextlib.suppress(MlflowException):  # only for the table of runs, which shows which ones have models
        client._record_logged_model(run.info.run_id, model)
    return f"runs:/{run.info.run_id}/{name}"


def has_id(model_uri: str) -> bool:
    """Return whether a logged model's URI has an id."""
    return model_uri.startswith("models:/m-")


def id_of(model_uri: str) -> str:
    """Return the id in a logged model's URI, ``models:/m-...``."""
    return model_uri.rsplit("/", 1)[-1]


def create_version(client: mlflow.MlflowClient, name: str, model_uri: str, run_id: str, description: str) -> str:
    """Create a version of a registered model from a logged model; return the version."""
    if has_id(model_uri):
        made = client.create_model_version(
            name, model_uri, run_id=run_id, model_id=id_of(model_uri), description=description
        )
        # Like mlflow.register_model: the logged model's page reads its versions from this tag.
        known = json.loads(_tags(client, id_of(model_uri)).get(_VERSIONS, "[]"))
        versions = [*known, {"name": name, "version": made.version}]
        client.set_logged_model_tags(id_of(model_uri), {_VERSIONS: json.dumps(versions)})
    else:
        source = RunsArtifactRepository.get_underlying_uri(model_uri)
        made = client.create_model_version(name, source, run_id=run_id, description=description)
    return str(made.version)


def description(client: mlflow.MlflowClient, model_id: str) -> str:
    """Return the description of a logged model with an id; empty if it has none."""
    return _tags(client, model_id).get(_NOTE, "")


def describe(client: mlflow.MlflowClient, model_id: str, note: str) -> None:
    """Set the description of a logged model with an id."""
    client.set_logged_model_tags(model_id, {_NOTE: note})


def model_id(description: Model) -> str | None:
    """Return the id of a logged model, or None if it has none."""
    return getattr(description, "model_id", None)


def link(client: mlflow.MlflowClient, run_id: str, model_id: str | None) -> None:
    """Link a model with an id to a run as an input."""
    if model_id:
        from mlflow.entities import LoggedModelInput

        client.log_inputs(run_id, models=[LoggedModelInput(model_id)])


def metric(
    name: str, value: float, timestamp: int, model_id: str | None, dataset: tuple[str, str] | None = None
) -> Metric:
    """Return a metric of a run (step 0), and of a model with an id, measured on a dataset (name, version)."""
    measured = dict(zip(("dataset_name", "dataset_digest"), dataset, strict=True)) if HAVE_IDS and dataset else {}
    return Metric(name, value, timestamp, 0, **({"model_id": model_id} if model_id else {}), **measured)


def _tags(client: mlflow.MlflowClient, model_id: str) -> dict[str, str]:
    return dict(client.get_logged_model(model_id).tags)
