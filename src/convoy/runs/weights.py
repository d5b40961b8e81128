"""Comparison of the weights of two trained networks, layer by layer."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convoy.runs.formats import finite

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class LayerDifference:
    """Difference between the weights of a layer in two networks.

    Attributes:
        layer: Its name.
        values: Number of weights.
        different: Number of weights that are not bitwise identical.
        largest: Largest absolute difference; infinite if shapes differ, or if only one network has the layer.
        relative: Root of the mean squared difference, divided by that of the weights before.
    """

    layer: str
    values: int
    different: int
    largest: float
    relative: float

    def plain(self) -> dict[str, Any]:
        """Return values for JSON."""
        return {name: finite(value) for name, value in asdict(self).items()}


def named_weights(model: "keras.Model") -> dict[str, np.ndarray]:
    """Return the weights of a network, in its order, by their paths: ``c1/kernel``."""
    found: dict[str, np.ndarray] = {}
    for weight, value in zip(model.weights, model.get_weights(), strict=True):
        name = weight.path
        while name in found:  # names of nested layers are not always unique
            name += "'"
        found[name] = value
    return found


def differing_layers(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> list[LayerDifference]:
    """Compare two networks' weights.

    Args:
        before: Path -> values, in the network's order.
        after: Likewise.

    Returns:
        The layers that are not bitwise identical, in that order.
    """
    layers: dict[str, list[str]] = {}
    for path in dict.fromkeys([*before, *after]):
        layers.setdefault(path.rpartition("/")[0] or path, []).append(path)
    compared = [_layer(name, paths, before, after) for name, paths in layers.items()]
    return [found for found in compared if found.different]


def _layer(
    name: str, paths: list[str], before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]
) -> LayerDifference:
    values = different = 0
    largest = squares = scale = 0.0
    for path in paths:
        first, second = before.get(path), after.get(path)
        size = max(0 if each is None else each.size for each in (first, second))
        values += size
        if first is None or second is None or first.shape != second.shape or first.dtype != second.dtype:
            different, largest, squares = different + size, math.inf, math.inf
            continue
        different += int((_bits(first) != _bits(second)).any(axis=1).sum())
        apart = np.abs(first.astype(np.float64) - second.astype(np.float64))
        apart[np.isnan(apart) & (np.isnan(first) & np.isnan(second))] = 0.0
        apart[np.isnan(apart)] = math.inf
        largest = max(largest, float(apart.max(initial=0.0)))
        squares += float(np.square(apart).sum())
        scale += float(np.square(first.astype(np.float64)).sum())
    relative = math.sqrt(squares / scale) if scale > 0 else (0.0 if squares == 0 else math.inf)
    return LayerDifference(name, values, different, largest, relative)


def _bits(values: np.ndarray) -> np.ndarray:
    """Return the bytes of each value: (values, bytes)."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).reshape(values.size, values.itemsize)
