"""Layers that check their geometry before Keras does, and say which layer does not fit and why."""

import math
from typing import Any, TypeAlias

import keras

from convoy.errors import ModelError

KerasTensor: TypeAlias = Any
"""A symbolic tensor (``keras.KerasTensor``); Keras comes without types."""

_SMALL, _LARGE = 1e-5, 1e15
_TINY = 1e-37  # about the smallest number that a float32 holds in full


def conv2d(x: KerasTensor, filters: int, size: int, *, name: str, **options: Any) -> KerasTensor:
    """``keras.layers.Conv2D`` with square filters; raises ``ModelError`` where the filter is larger than its input."""
    if options.get("padding", "valid") == "valid":
        _check_fits(x, size, name, f"{size}x{size} filters")
    return keras.layers.Conv2D(filters, size, name=name, **options)(x)


def pool2d(x: KerasTensor, size: int, *, kind: str, name: str) -> KerasTensor:
    """Average or maximum (``kind`` ``average`` | ``max``) over windows of ``size`` x ``size``, without overlap."""
    _check_fits(x, size, name, f"a {size}x{size} window")
    layer = keras.layers.AveragePooling2D if kind == "average" else keras.layers.MaxPooling2D
    return layer(size, name=name)(x)


def normalise(x: KerasTensor, mean: list[float], std: list[float]) -> KerasTensor:
    """Subtract each channel's mean and divide by its standard deviation, inside the network.

    A channel without deviation is not divided. Keras' layer divides by 1e-7 at least and keeps variances as float32, so
    very small and very large values (of 1e-13 tesla, say) are brought to a deviation of 1 before it.
    """
    if any(0 < value < _SMALL or value > _LARGE for value in std):
        scale = [1 / value if value > _TINY else 1.0 for value in std]
        x = keras.layers.Rescaling(scale, name="rescale")(x)
        mean = [m * s for m, s in zip(mean, scale, strict=True)]
        std = [value * s for value, s in zip(std, scale, strict=True)]
    variance = [value * value if value > _TINY else 1.0 for value in std]
    return keras.layers.Normalization(axis=-1, mean=mean, variance=variance, name="normalise")(x)


def pad_to(x: KerasTensor, height: int, width: int, *, name: str) -> KerasTensor:
    """Zero-pad to at least (height, width), the image in the middle."""
    missing = (max(0, height - x.shape[1]), max(0, width - x.shape[2]))
    if missing == (0, 0):
        return x
    padding = tuple((m // 2, math.ceil(m / 2)) for m in missing)
    return keras.layers.ZeroPadding2D(padding, name=name)(x)


def _check_fits(x: KerasTensor, size: int, name: str, what: str) -> None:
    height, width = x.shape[1], x.shape[2]
    if height < size or width < size:
        raise ModelError(f"layer {name!r} has {what}, but what reaches it is {height}x{width}")
