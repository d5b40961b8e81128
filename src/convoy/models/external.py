"""Networks that Convoy did not train: missing information for scoring is derived from the network itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from convoy.errors import ModelError
from convoy.images import ArraySpec, Geometry
from convoy.models.keras_file import load
from convoy.models.package import ModelPackage

_ROUNDING = 1e-3  # of a sum of probabilities, in 16 bits too


def foreign_package(
    uri: str, keras_file: bytes, classes: Sequence[str] | None, geometry: Geometry | None, run_id: str | None
) -> ModelPackage:
    """Return a package for a network from its inputs and outputs.

    The network gets images as networks trained by Convoy do: pixels from 0 to 255, uint8.

    Args:
        uri: URI of the model.
        keras_file: Bytes of its ``.keras`` file.
        classes: Class names by index; None names them "0", "1", ...
        geometry: Geometry of images; None stretches them to the network's height, width and channels.
        run_id: The run that created it, if known.

    Returns:
        The package. A network whose samples do not have the shape of images (H, W, 1 | 3) takes arrays.

    Raises:
        ModelError: The network is not a classifier with one input, or the given values do not fit it.
    """
    network = load(keras_file, uri)
    shape, count = _of_one(uri, "input", network.inputs), _of_one(uri, "output", network.outputs)
    if len(count) != 1 or count[0] is None or count[0] < 2:
        raise ModelError(
            f"{uri} returns {network.output_shape}, expected (None, K): probabilities of two or more classes"
        )
    geometry = geometry or _geometry(shape)
    fixed = tuple(n for n in shape if n is not None)
    if geometry is None and len(fixed) < len(shape):
        raise ModelError(
            f"{uri} takes samples of shape {shape}, of any size; specify the size that images are resized to"
        )
    spec = geometry.spec if geometry else ArraySpec(fixed, str(network.inputs[0].dtype))
    if len(spec.shape) != len(shape) or any(own not in (None, n) for own, n in zip(shape, spec.shape, strict=True)):
        raise ModelError(f"{uri} takes samples of shape {shape}, which images of {spec.shape} do not fit")
    if classes is not None and len(classes) != count[0]:
        raise ModelError(f"{uri} has {count[0]} classes, but {len(classes)} names were given")
    _check_probabilities(uri, network, spec)
    names = [str(i) for i in range(count[0])] if classes is None else list(classes)
    return ModelPackage(uri, keras_file, geometry, spec, names, run_id)


def _of_one(uri: str, what: str, tensors: Any) -> tuple[int | None, ...]:
    """Return a sample's shape at the only input or output."""
    if not tensors or len(tensors) != 1:
        raise ModelError(f"{uri} has {len(tensors or [])} {what}s; expected a network with one {what}")
    return tuple(tensors[0].shape[1:])


def _geometry(shape: tuple[int | None, ...]) -> Geometry | None:
    if len(shape) != 3 or None in shape or shape[2] not in (1, 3):
        return None
    height, width, channels = shape
    return Geometry(height, width, channels, "stretch")  # type: ignore[arg-type]


def _check_probabilities(uri: str, network: Any, spec: ArraySpec) -> None:
    given = np.asarray(network(np.zeros((1, *spec.shape), spec.dtype), training=False), np.float64)
    if not (given.min() >= 0 and abs(given.sum() - 1) < _ROUNDING):
        raise ModelError(
            f"{uri} returns {given.min():.3g} to {given.max():.3g} for a sample of zeros, which are not class"
            " probabilities; expected a network that ends with a softmax"
        )
