"""Whether two trained networks have the same weights, and where not."""

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
    """How far a layer's weights are apart.

    Attributes:
        layer: Its name.
        values: How many weights it has.
        different: How many of them are not the same, bit by bit.
        largest: Largest absolute difference; infinite where shapes differ, or a layer is in one network only.
        relative: Root of the mean squared difference, by that of the weights before.
    """

    layer: str
    values: int
    different: int
    largest: float
    relative: float

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {name: finite(value) for name, value in asdict(self).items()}


def named_weights(model: "keras.Model") -> dict[str, np.ndarray]:
    """The weights of a network, in its order, by their paths: ``c1/kernel``."""
    found: dict[str, np.ndarray] = {}
    for weight, value in zip(model.weights, model.get_weights(), strict=True):
        name = weight.path
        while name in found:  # layers within layers need not have names of their own
            name += "'"
        found[name] = value
    return found


def differing_layers(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> list[LayerDifference]:
    """Compare two networks' weights.

    Args:
        before: Path -> values, in the network's order.
        after: Likewise.

    Returns:
        The layers that are not the same bit by bit, in that order.
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
    """The bytes of each value: (values, bytes)."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).reshape(values.size, values.itemsize)
