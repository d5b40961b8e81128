"""A trained network with all that scoring needs. Imports neither MLflow nor TensorFlow: it travels to every worker."""

from dataclasses import dataclass

from convoy.images import ArraySpec, Geometry


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
    """

    uri: str
    keras_file: bytes
    geometry: Geometry | None
    spec: ArraySpec
    classes: list[str]
    run_id: str | None
