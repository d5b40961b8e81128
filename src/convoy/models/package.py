"""A trained network with all that scoring needs. Imports neither MLflow nor TensorFlow: it travels to every worker."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convoy.images import ArraySpec, Geometry, ImageProfile

METADATA = "convoy"
"""Under this key class names and geometry are in the metadata of a logged model's MLmodel file."""
KERAS_FILE = "data/model.keras"
"""The network in a logged model, where MLflow writes it."""


@dataclass(frozen=True)
class TrainingStatistics:
    """What a model was trained on, as far as its scoring is compared with it.

    Attributes:
        class_counts: Samples of each class, by index.
        profile: Brightness and sizes of the images; None for arrays, and for datasets written before there was one.
    """

    class_counts: list[int]
    profile: ImageProfile | None


@dataclass(frozen=True)
class ModelPackage:
    """A model ready to score; it is sent to the workers.

    Attributes:
        uri: Which model this is, e.g. ``models:/digits/3``.
        keras_file: Bytes of the ``.keras`` file.
        geometry: What images are brought to; None for a model that takes arrays, as they are in a dataset.
        spec: Shape and type of a sample.
        classes: Class names, by index.
        run_id: The run that made it, if known.
        training: What it was trained on; None for models that do not tell.
        model_id: MLflow's id of the logged model, if known.
    """

    uri: str
    keras_file: bytes
    geometry: Geometry | None
    spec: ArraySpec
    classes: list[str]
    run_id: str | None
    training: TrainingStatistics | None = None
    model_id: str | None = None


def described(uri: str, keras_file: bytes, metadata: Mapping[str, Any], run_id: str | None) -> ModelPackage:
    """Put a network together with what its MLmodel file says of it, under ``METADATA``."""
    geometry = Geometry(**metadata["geometry"]) if metadata["geometry"] else None
    spec = geometry.spec if geometry else ArraySpec(tuple(metadata["shape"]), metadata["dtype"])
    training = None
    if found := metadata.get("training"):
        profile = ImageProfile.from_dict(found["profile"]) if found["profile"] else None
        training = TrainingStatistics(list(found["class_counts"]), profile)
    return ModelPackage(uri, keras_file, geometry, spec, list(metadata["classes"]), run_id, training)
