"""What MLflow 2 and MLflow 3 have different about models, all of it.

In MLflow 3 a logged model has an id (``models:/m-...``), a page and metrics of its own; in MLflow 2 it is a folder of
its run (``runs:/<id>/model``). MLflow 2.13 is what Databricks Runtime 15.4 LTS ML has.
"""

from types import ModuleType
from typing import Any

import mlflow
from mlflow.entities import Metric
from mlflow.models import Model
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

HAVE_IDS = int(mlflow.__version__.split(".")[0]) >= 3


def log(flavor: ModuleType, name: str, **options: Any) -> str:
    """Log a model to the active run, in a flavour whose ``save_model`` gets the options; returns its URI."""
    if HAVE_IDS:
        # Validating would load the network once more, and put its code on sys.path.
        info = Model.log(None, flavor=flavor, name=name, validate_serving_input=False, **options)
    else:
        info = Model.log(name, flavor=flavor, **options)
    return str(info.model_uri)


def create_version(client: mlflow.MlflowClient, name: str, model_uri: str, run_id: str) -> str:
    """Make a version of a registered model of a logged one; returns the version."""
    if HAVE_IDS:
        made = client.create_model_version(name, model_uri, run_id=run_id, model_id=model_uri.rsplit("/", 1)[-1])
    else:
        made = client.create_model_version(name, RunsArtifactRepository.get_underlying_uri(model_uri), run_id=run_id)
    return str(made.version)


def model_id(description: Model) -> str | None:
    """The id of a logged model; None where it has none."""
    return getattr(description, "model_id", None)


def link(client: mlflow.MlflowClient, run_id: str, model_id: str | None) -> None:
    """Show a model that has an id as an input of a run."""
    if model_id:
        from mlflow.entities import LoggedModelInput

        client.log_inputs(run_id, models=[LoggedModelInput(model_id)])


def metric(name: str, value: float, timestamp: int, model_id: str | None) -> Metric:
    """A metric of a run (step 0), and of a model that has an id."""
    return Metric(name, value, timestamp, 0, **({"model_id": model_id} if model_id else {}))
