"""What MLflow 2 and MLflow 3 have different about models, all of it.

In MLflow 3 a logged model has an id (``models:/m-...``), a page and metrics of its own; in MLflow 2 it is a folder of
its run (``runs:/<id>/model``). MLflow 2.13 is what Databricks Runtime 15.4 LTS ML has.
"""

import json
from types import ModuleType
from typing import Any

import mlflow
from mlflow.entities import Metric
from mlflow.models import Model
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

_NOTE = "mlflow.note.content"  # as of runs
_VERSIONS = "mlflow.modelVersions"
HAVE_IDS = int(mlflow.__version__.split(".")[0]) >= 3


def log(flavor: ModuleType, name: str, **options: Any) -> str:
    """Log a model to the active run, in a flavour whose ``save_model`` gets the options; returns its URI."""
    if HAVE_IDS:
        # Validating would load the network once more, and put its code on sys.path.
        info = Model.log(None, flavor=flavor, name=name, validate_serving_input=False, **options)
    else:
        info = Model.log(name, flavor=flavor, **options)
    return str(info.model_uri)


def id_of(model_uri: str) -> str:
    """The id in a logged model's URI, ``models:/m-...``."""
    return model_uri.rsplit("/", 1)[-1]


def create_version(client: mlflow.MlflowClient, name: str, model_uri: str, run_id: str, description: str) -> str:
    """Make a version of a registered model of a logged one; returns the version."""
    if HAVE_IDS:
        made = client.create_model_version(
            name, model_uri, run_id=run_id, model_id=id_of(model_uri), description=description
        )
        # As mlflow.register_model does: the logged model's page shows its versions by this.
        known = json.loads(_tags(client, id_of(model_uri)).get(_VERSIONS, "[]"))
        versions = [*known, {"name": name, "version": made.version}]
        client.set_logged_model_tags(id_of(model_uri), {_VERSIONS: json.dumps(versions)})
    else:
        source = RunsArtifactRepository.get_underlying_uri(model_uri)
        made = client.create_model_version(name, source, run_id=run_id, description=description)
    return str(made.version)


def description(client: mlflow.MlflowClient, model_id: str) -> str:
    """The description of a logged model that has an id; empty where it has none."""
    return _tags(client, model_id).get(_NOTE, "")


def describe(client: mlflow.MlflowClient, model_id: str, note: str) -> None:
    """Give a logged model that has an id a description."""
    client.set_logged_model_tags(model_id, {_NOTE: note})


def model_id(description: Model) -> str | None:
    """The id of a logged model; None where it has none."""
    return getattr(description, "model_id", None)


def link(client: mlflow.MlflowClient, run_id: str, model_id: str | None) -> None:
    """Show a model that has an id as an input of a run."""
    if model_id:
        from mlflow.entities import LoggedModelInput

        client.log_inputs(run_id, models=[LoggedModelInput(model_id)])


def metric(
    name: str, value: float, timestamp: int, model_id: str | None, dataset: tuple[str, str] | None = None
) -> Metric:
    """A metric of a run (step 0), and of a model that has an id, measured on a dataset (name, version)."""
    measured = dict(zip(("dataset_name", "dataset_digest"), dataset, strict=True)) if HAVE_IDS and dataset else {}
    return Metric(name, value, timestamp, 0, **({"model_id": model_id} if model_id else {}), **measured)


def _tags(client: mlflow.MlflowClient, model_id: str) -> dict[str, str]:
    return dict(client.get_logged_model(model_id).tags)
