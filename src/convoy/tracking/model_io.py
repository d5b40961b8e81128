"""A trained network as an MLflow model: logged with everything that scoring needs, and loaded by its URI.

One MLmodel file with two flavours: Keras' own, so that ``mlflow.keras.load_model`` opens it, and a ``python_function``
that takes image files (``convoy.inference.pyfunc``), logged as code: this package's source is in the model's folder
``code``. Class names and geometry are stored in the file's metadata. The network is a ``.keras`` file, loaded in safe
mode; there is no pickle.
"""

import base64
import contextlib
import importlib.resources
import math
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import distributions
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ConfigError, ModelError, TrackingError
from convoy.images import ArraySpec, Geometry, encode_png
from convoy.models.external.facts import ModelFacts
from convoy.models.external.package import foreign_package
from convoy.models.keras_file import check, load
from convoy.models.package import KERAS_FILE, METADATA, ModelPackage, described
from convoy.tracking import connection, descriptions, logged_models, registry
from convoy.tracking.auth_errors import auth_errors_explained
from convoy.tracking.connection import first_line

if TYPE_CHECKING:
    import keras

_LOADER = "convoy.inference.pyfunc"  # as a name: that package is above this one, and only MLflow imports it
_EXAMPLE_VALUES = 1_000_000  # they are written as JSON
_OUTPUTS = Schema(
    [
        ColSpec(DataType.string, "prediction", required=False),
        ColSpec(DataType.integer, "prediction_index", required=False),
        ColSpec(DataType.float, "probability", required=False),
        ColSpec(DataType.string, "error", required=False),
    ]
)


def log_model(
    model: "keras.Model", manifest: Manifest, example: np.ndarray, run_id: str, registered_model: str | None
) -> tuple[str, str | None]:
    """Log a trained network to its run, and register it as a new version.

    Args:
        model: Network from raw samples (N, H, W, C), or (N, ...), to probabilities.
        manifest: Manifest of the dataset that it was trained on; gives class names and geometry.
        example: A few real samples (n, ...); they are logged up to a total of a million values.
        run_id: The run.
        registered_model: Name in the registry, or None.

    Returns:
        (model URI, version in the registry or None).
    """
    metadata = {
        **_described(manifest.classes, manifest.image, manifest.spec),
        "training": _training(manifest),
        "dataset": {"name": manifest.name, "version": manifest.version, "fingerprint": manifest.fingerprint},
    }
    return _log(model, metadata, manifest.image, manifest.spec, example, run_id, registered_model)


def log_package(
    package: ModelPackage, experiment: str, registered_model: str | None, tags: Mapping[str, str]
) -> tuple[str, str, str | None]:
    """Log a packaged network that Convoy did not train in a run of its own, and register it as a new version.

    Args:
        package: The model.
        experiment: Name of the run's experiment.
        registered_model: Name in the registry, or None.
        tags: Tags of the run.

    Returns:
        (id of the run, model URI, version in the registry or None).
    """
    network, spec = load(package.keras_file, package.uri), package.spec
    with auth_errors_explained():
        client, experiment_id = mlflow.MlflowClient(), connection.experiment_id(experiment)
        run_id = str(client.create_run(experiment_id, run_name="import-model", tags=dict(tags)).info.run_id)
        try:
            metadata = {**_described(package.classes, package.geometry, spec), "training": None, "dataset": None}
            example = np.zeros((0, *spec.shape), spec.dtype)
            uri, version = _log(network, metadata, package.geometry, spec, example, run_id, registered_model)
        except BaseException:
            client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id, "FINISHED")
    return run_id, uri, version


def _described(classes: Sequence[str], geometry: Geometry | None, spec: ArraySpec) -> dict[str, Any]:
    """Return the metadata that ``package.described`` reads."""
    stored = geometry and geometry.to_dict()
    return {"classes": list(classes), "geometry": stored, "shape": list(spec.shape), "dtype": spec.dtype}


def _log(
    model: "keras.Model",
    metadata: dict[str, Any],
    geometry: Geometry | None,
    spec: ArraySpec,
    example: np.ndarray,
    run_id: str,
    registered_model: str | None,
) -> tuple[str, str | None]:
    tensors = Schema([TensorSpec(np.dtype(spec.dtype), (-1, *spec.shape))])
    probabilities = Schema([TensorSpec(np.dtype(np.float32), (-1, len(metadata["classes"])))])
    example = example[: _EXAMPLE_VALUES // math.prod(spec.shape)]
    inputs, given = tensors, example
    if geometry:
        # Not binary: MLflow's server would decode the base64 itself, and one bad row would fail the whole request.
        inputs = Schema([ColSpec(DataType.string, "image")])
        given = pd.DataFrame({"image": [base64.b64encode(encode_png(image)).decode() for image in example]})
    with contextlib.ExitStack() as stack:
        # Has to be the last step of a run: leaving this block marks it as finished, until the caller sets its status.
        stack.enter_context(mlflow.start_run(run_id=run_id))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # MLflow's advice on its own signature types
        model_uri = logged_models.log(
            sys.modules[__name__],
            "model",
            model=model,
            signature=ModelSignature(inputs, _OUTPUTS),
            keras_signature=ModelSignature(tensors, probabilities),
            input_example=given if len(example) else None,
            pip_requirements=_requirements(),
            metadata={METADATA: metadata},
        )
    if logged_models.has_id(model_uri) and (note := descriptions.note_of(run_id)):
        logged_models.describe(mlflow.MlflowClient(), logged_models.id_of(model_uri), note)
    if registered_model is None:
        return model_uri, None
    version = registry.register(model_uri, registered_model, run_id)
    return f"models:/{registered_model}/{version}", version


def _training(manifest: Manifest) -> dict[str, Any] | None:
    """Return the fields of ``TrainingStatistics``."""
    train = manifest.splits.get("train")
    if train is None:
        return None
    counts = [train.per_class.get(name, 0) for name in manifest.classes]
    return {"class_counts": counts, "profile": manifest.profile and asdict(manifest.profile)}


def _requirements() -> list[str]:
    """Return the packages that the model needs, at the versions of the training; MLflow adds itself."""
    # Only one TensorFlow is installed, the package for CPUs or the one for GPUs, and only one OpenCV.
    names = {"keras", "numpy", "opencv-python", "opencv-python-headless", "pillow", "simplejpeg"}
    names |= {"tensorflow", "tensorflow-cpu"}
    here = {(dist.name or "").lower().replace("_", "-"): dist.version for dist in distributions()}
    return sorted(f"{name}=={here[name]}" for name in names if name in here)


def save_model(
    path: str,
    model: "keras.Model",
    mlflow_model: Model,
    keras_signature: ModelSignature,
    pip_requirements: list[str],
    **options: Any,
) -> None:
    """Write a model with both flavours into a folder; ``Model.log`` calls this."""
    options.pop("validate_serving_input", None)  # meant for ``Model.log`` itself
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        source = Path(folder) / "convoy"
        _copy_source(importlib.resources.files("convoy"), source)
        mlflow.pyfunc.save_model(
            path,
            loader_module=_LOADER,
            code_paths=[str(source)],
            mlflow_model=mlflow_model,
            pip_requirements=pip_requirements,
            **options,
        )
    signature, own = mlflow_model.signature, mlflow_model.flavors["python_function"]
    mlflow.keras.save_model(
        model, path, mlflow_model=mlflow_model, signature=keras_signature, pip_requirements=pip_requirements
    )
    # Keras' save_model has replaced the signature and the python_function flavour.
    mlflow_model.signature, mlflow_model.flavors["python_function"] = signature, own
    mlflow_model.save(str(Path(path) / "MLmodel"))


def _copy_source(source: Traversable, target: Path) -> None:
    """Copy a package, which may be in an archive (``spark-submit --py-files``)."""
    target.mkdir()
    for item in source.iterdir():
        if item.is_dir():
            if item.name != "__pycache__":
                _copy_source(item, target / item.name)
        elif not item.name.endswith(".pyc"):
            (target / item.name).write_bytes(item.read_bytes())


def load_package(
    uri: str,
    classes: Sequence[str] | None = None,
    geometry: Geometry | None = None,
    facts: ModelFacts | None = None,
) -> ModelPackage:
    """Download a model by its URI. No code of the model is run.

    Args:
        uri: ``models:/name/3``, ``models:/name@alias``, ``models:/name/latest``, ``runs:/<id>/model``.
        classes: Class names by index, for a model that has none; None calls them "0", "1", ...
        geometry: Geometry of images for a model that has none; None stretches images to the model's input size.
        facts: What is stated about a model that Convoy did not log; None states nothing.

    Raises:
        TrackingError: There is no such model; the message lists the existing ones.
        ModelError: It is not a Keras image classifier that can be scored, or it is unsafe.
        ConfigError: Facts are stated about a model that has them already.
    """
    resolved, folder, description = download(uri)
    if not (folder / KERAS_FILE).is_file():
        raise ModelError(
            f"{uri} holds no {KERAS_FILE}; expected a model logged with mlflow.keras; convoy import-model reads others"
        )
    content = (folder / KERAS_FILE).read_bytes()
    check(content, uri)
    run_id = resolved.run_id or description.run_id
    metadata = (description.metadata or {}).get(METADATA)
    if metadata:
        stated = [name for name, value in vars(facts or ModelFacts()).items() if value is not None]
        if stated:
            field = {"size": "image_size"}.get(stated[0], stated[0])
            raise ConfigError(
                f"scoring.{field} is for models that Convoy did not log; {uri} has its own, which is part of it: remove"
                f" scoring.{field}"
            )
        package = described(resolved.uri, content, metadata, run_id)
    else:
        package = foreign_package(resolved.uri, content, classes, geometry, run_id, facts)
    return replace(package, model_id=logged_models.model_id(description))


def download(uri: str) -> tuple[registry.Resolved, Path, Model]:
    """Download a model by its URI; return the URI without an alias, the model's folder and its description.

    Raises:
        TrackingError: There is no such model; the message lists the existing ones.
        ModelError: It refers to files outside its folder.
    """
    resolved = registry.resolve(uri)
    try:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=resolved.uri))
        description = Model.load(str(folder))
        # MLflow 2 gives the folder with its links, MLflow 3.0 copies what they lead to, and later versions refuse them.
        uris = [resolved.uri, *([f"models:/{model_id}"] if (model_id := logged_models.model_id(description)) else [])]
        for place in (folder, *filter(None, map(_stored_folder, uris))):
            if link := next((path for path in place.rglob("*") if path.is_symlink()), None):
                raise OSError(f"{link.name} is a link")
    except Exception as error:
        raise TrackingError(f"{uri} cannot be downloaded: {first_line(error)}") from None
    _check_paths(uri, description)
    return resolved, folder, description


def _stored_folder(uri: str) -> Path | None:
    """Return the folder of a model that a file system of this machine holds; None for one in another store."""
    try:
        repository = get_artifact_repository(uri)
    except MlflowException:  # the id of a model that was copied from another server
        return None
    while (inner := getattr(repository, "repo", None)) is not None:  # of a model or run, by the kind of URI
        repository = inner
    folder = getattr(repository, "artifact_dir", None) if isinstance(repository, LocalArtifactRepository) else None
    return Path(folder) if folder else None


def _check_paths(uri: str, description: Model) -> None:
    """Raise an error for a model that refers to files outside its folder; MLflow itself does not follow such links."""
    for name, flavour in description.flavors.items():
        for key, value in flavour.items():
            if isinstance(value, str) and ".." in PurePosixPath(value.replace("\\", "/")).parts:
                raise ModelError(f"{uri} is rejected: {key} of its flavour {name} is {value!r}, outside its folder")
