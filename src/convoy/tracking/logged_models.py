"""All differences between MLflow 2 and MLflow 3 for models.

In MLflow 3 a logged model has an id (``models:/m-...``), its own page and its own metrics; in MLflow 2 it is a folder
of its run (``runs:/<id>/model``). Databricks Runtime 15.4 LTS ML has MLflow 2.13.
"""

import json
from types import ModuleType
from typing import Any

import mlflow
from mlflow.entities import Metric
from mlflow.models import Model
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
from packaging.version import Version

_NOTE = "mlflow.note.content"  # the same as for runs
_VERSIONS = "mlflow.modelVersions"
HAVE_IDS = Version(mlflow.__version__).major >= 3


def log(flavor: ModuleType, name: str, **options: Any) -> str:
    """Log a model to the active run, in a flavour whose ``save_model`` gets the options; return its URI."""
    if HAVE_IDS:
        # Validation would load the network once more, and put its code on sys.path.
        info = Model.log(None, flavor=flavor, name=name, validate_serving_input=False, **options)
    else:
        info = Model.log(name, flavor=flavor, **options)
    return str(info.model_uri)


def id_of(model_uri: str) -> str:
    """Return the id in a logged model's URI, ``models:/m-...``."""
    return model_uri.rsplit("/", 1)[-1]


def create_version(client: mlflow.MlflowClient, name: str, model_uri: str, run_id: str, description: str) -> str:
    """Create a version of a registered model from a logged model; return the version."""
    if HAVE_IDS:
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
