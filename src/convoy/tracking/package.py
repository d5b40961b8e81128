"""A trained network as an MLflow model: logged with everything that scoring needs, and found again by its URI.

The native Keras flavour, so ``mlflow.keras.load_model`` opens it too; class names and geometry ride in the MLmodel
file's metadata. The network is a ``.keras`` file, loaded in safe mode.
"""

import contextlib
import io
import math
import sys
import warnings
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from convoy.dataset.manifest import Manifest
from convoy.errors import ModelError, TrackingError
from convoy.images import ArraySpec, Geometry
from convoy.models.package import ModelPackage
from convoy.tracking import registry

if TYPE_CHECKING:
    import keras

METADATA = "convoy"
KERAS_FILE = "data/model.keras"
_EXAMPLE_VALUES = 1_000_000  # they are written as JSON


def log_model(
    model: "keras.Model", manifest: Manifest, example: np.ndarray, run_id: str, registered_model: str | None
) -> tuple[str, str | None]:
    """Log a trained network to its run, and register it as a new version.

    Args:
        model: From raw samples (N, H, W, C), or (N, ...), to probabilities.
        manifest: Of the dataset that it was trained on; gives class names and geometry.
        example: A few real samples (n, ...); as many of them are logged as have a million values.
        run_id: The run.
        registered_model: Name in the registry, or None.

    Returns:
        (model URI, version in the registry or None).
    """
    inputs = Schema([TensorSpec(np.dtype(manifest.dtype), (-1, *manifest.shape), "image")])
    outputs = Schema([TensorSpec(np.dtype(np.float32), (-1, len(manifest.classes)))])
    metadata = {
        "classes": manifest.classes,
        "geometry": manifest.image and asdict(manifest.image),
        "shape": list(manifest.shape),
        "dtype": manifest.dtype,
        "dataset": {"name": manifest.name, "version": manifest.version, "fingerprint": manifest.fingerprint},
    }
    example = example[: _EXAMPLE_VALUES // math.prod(manifest.shape)]
    with contextlib.ExitStack() as stack:
        # The last thing in a run: leaving this block marks it as finished, until its owner says how it ended.
        stack.enter_context(mlflow.start_run(run_id=run_id))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # MLflow's advice on its own signature types
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))  # Keras' bar, as MLflow tries the example
        info = Model.log(
            None,
            flavor=sys.modules[__name__],
            name="model",
            model=model,
            signature=ModelSignature(inputs, outputs),
            input_example={"image": example} if len(example) else None,
            pip_requirements=_requirements(),
            metadata={METADATA: metadata},
        )
    if registered_model is None:
        return info.model_uri, None
    version = registry.register(info.model_uri, registered_model, run_id)
    return f"models:/{registered_model}/{version}", version


def _requirements() -> list[str]:
    """What the model needs, at the versions that it was trained with."""
    # One TensorFlow is installed, under its name for CPUs or for GPUs.
    names = {"keras", "numpy", "pillow", "tensorflow", "tensorflow-cpu"}
    here = {(dist.name or "").lower(): dist.version for dist in distributions()}
    return sorted(f"{name}=={here[name]}" for name in names if name in here)


def save_model(path: str, **options: Any) -> None:
    """``mlflow.keras.save_model`` into a folder that exists; ``Model.log`` calls this.

    MLflow 3.17 forgets to make the folder when there is an input example.
    """
    Path(path).mkdir(parents=True, exist_ok=True)
    mlflow.keras.save_model(path=path, **options)


def load_package(uri: str) -> ModelPackage:
    """Fetch a model by its URI.

    Args:
        uri: ``models:/name/3``, ``models:/name@alias``, ``models:/name/latest``, ``runs:/<id>/model``.

    Raises:
        TrackingError: No such model; the message lists what there is.
        ModelError: It is not a Keras image classifier that can be scored.
    """
    resolved = registry.resolve(uri)
    try:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=resolved.uri))
        description = Model.load(str(folder))
        content = (folder / KERAS_FILE).read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{uri} holds no {KERAS_FILE}; expected a model logged with mlflow.keras") from None
    except Exception as error:
        raise TrackingError(f"{uri} cannot be fetched: {str(error).splitlines()[0]}") from None
    metadata: dict[str, Any] = (description.metadata or {}).get(METADATA, {})
    if not metadata:
        raise ModelError(f"{uri} has no class names and geometry; expected a model that jobs/train.py logged")
    geometry = Geometry(**metadata["geometry"]) if metadata["geometry"] else None
    return ModelPackage(
        resolved.uri,
        content,
        geometry,
        geometry.spec if geometry else ArraySpec(tuple(metadata["shape"]), metadata["dtype"]),
        list(metadata["classes"]),
        resolved.run_id or description.run_id,
    )
