"""Download of the weights of a model in MLflow, to start another training from."""

from pathlib import Path

import mlflow
from mlflow.models import Model

from convoy.errors import ModelError, TrackingError
from convoy.models.package import KERAS_FILE, METADATA
from convoy.tracking import registry
from convoy.tracking.connection import first_line

SCHEMES = ("models:", "runs:")


def download_weights(source: str, folder: Path) -> tuple[Path, tuple[str, ...] | None]:
    """Download a model's ``.keras`` file.

    Args:
        source: The model's URI, as in ``model.initial_weights``.
        folder: Folder to download into.

    Returns:
        (the file; names of the classes that the model was trained on, None if the model does not name them).

    Raises:
        TrackingError: There is no such model, or it cannot be downloaded.
        ModelError: The model has no ``.keras`` file.
    """
    uri = registry.resolve(source).uri
    try:
        model = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
        description = Model.load(str(model))
    except Exception as error:
        raise TrackingError(f"model.initial_weights {source!r} cannot be downloaded: {first_line(error)}") from None
    if not (model / KERAS_FILE).is_file():
        raise ModelError(f"model.initial_weights {source!r} has no {KERAS_FILE}; expected a model of mlflow.keras")
    classes = (description.metadata or {}).get(METADATA, {}).get("classes")
    return model / KERAS_FILE, classes and tuple(classes)
