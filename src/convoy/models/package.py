"""A trained network with everything that scoring needs. Workers import this: it uses neither MLflow nor TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convoy.images import ArraySpec, Geometry, ImageProfile

METADATA = "convoy"
"""Key of class names and geometry in the metadata of a logged model's MLmodel file."""
KERAS_FILE = "data/model.keras"
"""Path of the network within a logged model, as written by MLflow."""


@dataclass(frozen=True)
class TrainingStatistics:
    """Statistics of a model's training data, with which scored data are compared.

    Attributes:
        class_counts: Samples of each class, by index.
        profile: Brightness and sizes of the images; None for arrays, and for older datasets without a profile.
    """

    class_counts: list[int]
    profile: ImageProfile | None


@dataclass(frozen=True)
class ModelPackage:
    """A model ready for scoring; it is sent to the workers.

    Attributes:
        uri: URI of the model, e.g. ``models:/digits/3``.
        keras_file: Bytes of the ``.keras`` file.
        geometry: Geometry of its images; None for a model that takes arrays, as stored in a dataset.
        spec: Shape and type of a sample.
        classes: Class names, by index.
        run_id: The run that created it, if known.
        training: Statistics of its training data; None if the model does not have them.
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
    """Return the package of a network and its metadata in the MLmodel file (the value of ``METADATA``)."""
    geometry = Geometry(**metadata["geometry"]) if metadata["geometry"] else None
    spec = geometry.spec if geometry else ArraySpec(tuple(metadata["shape"]), metadata["dtype"])
    training = None
    if found := metadata.get("training"):
        profile = ImageProfile.from_dict(found["profile"]) if found["profile"] else None
        training = TrainingStatistics(list(found["class_counts"]), profile)
    return ModelPackage(uri, keras_file, geometry, spec, list(metadata["classes"]), run_id, training)
