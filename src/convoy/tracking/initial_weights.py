"""Weights to start from, wherever they are: a model of MLflow, or a file."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.models import Model

from convoy.config import Config
from convoy.console import say
from convoy.dataset.manifest import Manifest
from convoy.errors import ModelError, TrackingError
from convoy.models.package import KERAS_FILE, METADATA
from convoy.tracking import registry
from convoy.tracking.store import first_line
from convoy.training.network import Build, check_weights
from convoy.training.transfer import InitialWeights

_SCHEMES = ("models:", "runs:")


@contextmanager
def initial_weights(config: Config, build: Build, manifest: Manifest) -> Iterator[InitialWeights | None]:
    """Yield the weights that ``model.initial_weights`` names, once it is clear that they fit the network.

    The driver alone fetches them: ranks need no access to MLflow. What was downloaded is removed after the block.

    Args:
        config: The configuration; a run that is gone on with has its weights in its checkpoint.
        build: Builds the network.
        manifest: Of the dataset.

    Raises:
        TrackingError: No such model, or it cannot be fetched.
        ModelError: No such file, a model without a ``.keras`` file, or weights that do not fit.
    """
    source = config.model.initial_weights
    if source is None or config.training.resume:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        weights = _downloaded(source, folder) if source.startswith(_SCHEMES) else _of_file(source)
        transferred = check_weights(build, config.model, manifest, weights)
        say(f"model.initial_weights {source}: {transferred}")
        yield weights


def _of_file(source: str) -> InitialWeights:
    path = Path(source).expanduser()
    if not path.is_file():
        raise ModelError(
            f"model.initial_weights {source!r} is no file, and no model URI either; expected a .keras, .weights.h5 or"
            " .h5 file, models:/name/version, models:/name@alias or runs:/<run id>/model"
        )
    return InitialWeights(str(path), source)


def _downloaded(source: str, folder: str) -> InitialWeights:
    uri = registry.resolve(source).uri
    try:
        model = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
        description = Model.load(str(model))
    except Exception as error:
        raise TrackingError(f"model.initial_weights {source!r} cannot be fetched: {first_line(error)}") from None
    if not (model / KERAS_FILE).is_file():
        raise ModelError(f"model.initial_weights {source!r} holds no {KERAS_FILE}; expected a model of mlflow.keras")
    classes = (description.metadata or {}).get(METADATA, {}).get("classes")
    return InitialWeights(str(model / KERAS_FILE), source, classes and tuple(classes))
