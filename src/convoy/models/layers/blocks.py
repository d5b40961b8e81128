"""Building blocks of the architectures: square filters, normalisation inside the network."""

import math
from typing import Any, Literal, TypeAlias

import keras

KerasTensor: TypeAlias = Any
"""A symbolic tensor (``keras.KerasTensor``); Keras has no type annotations."""

_SMALL, _LARGE = 1e-5, 1e15
_TINY = 1e-37  # about the smallest float32 with full precision


def known_layers(*kinds: str) -> dict[str, type[keras.layers.Layer]]:
    """Return those of the named Keras layers that exist: Keras before 3.9 has no ``RMSNormalization``."""
    return {kind: getattr(keras.layers, kind) for kind in kinds if hasattr(keras.layers, kind)}


def conv2d(x: KerasTensor, filters: int, size: int, *, name: str, **options: Any) -> KerasTensor:
    """Apply ``keras.layers.Conv2D`` with square filters."""
    return keras.layers.Conv2D(filters, size, name=name, **options)(x)


def conv3d(x: KerasTensor, filters: int, size: int, *, name: str, **options: Any) -> KerasTensor:
    """Apply ``keras.layers.Conv3D`` with cubic filters."""
    return keras.layers.Conv3D(filters, size, name=name, **options)(x)


def pool2d(
    x: KerasTensor, size: int, *, kind: str, name: str, strides: int | None = None, padding: str = "valid"
) -> KerasTensor:
    """Apply average or maximum pooling (``kind`` ``average`` | ``max``) over windows of ``size`` x ``size``.

    Without ``strides`` the windows do not overlap.
    """
    layer = keras.layers.AveragePooling2D if kind == "average" else keras.layers.MaxPooling2D
    return layer(size, strides=strides, padding=padding, name=name)(x)


def pool3d(x: KerasTensor, size: int, *, name: str) -> KerasTensor:
    """Apply maximum pooling over cubes of ``size``, without overlap."""
    return keras.layers.MaxPooling3D(size, name=name)(x)


def softmax(x: KerasTensor, num_classes: int, *, name: str = "output") -> KerasTensor:
    """Apply a dense layer with softmax; returns the probabilities (N, num_classes)."""
    return keras.layers.Dense(num_classes, activation="softmax", name=name)(x)


def normalise(x: KerasTensor, mean: list[float], std: list[float]) -> KerasTensor:
    """Subtract each channel's mean and divide by its standard deviation, inside the network.

    A channel with deviation 0 is not divided. Keras' layer divides by at least 1e-7 and stores variances as float32, so
    very small and very large values (e.g. 1e-13 tesla) are rescaled to a deviation of 1 before it.
    """
    if any(0 < value < _SMALL or value > _LARGE for value in std):
        scale = [1 / value if value > _TINY else 1.0 for value in std]
        x = keras.layers.Rescaling(scale, name="rescale")(x)
        mean = [m * s for m, s in zip(mean, scale, strict=True)]
        std = [value * s for value, s in zip(std, scale, strict=True)]
    variance = [value * value if value > _TINY else 1.0 for value in std]
    return keras.layers.Normalization(axis=-1, mean=mean, variance=variance, name="normalise")(x)


def imagenet_preprocessing(x: KerasTensor, mode: Literal["caffe", "tf"]) -> KerasTensor:
    """Apply the preprocessing of ``keras.applications`` for its published weights, with serialisable layers.

    Args:
        x: Images (N, H, W, 3), RGB from 0 to 255.
        mode: ``caffe`` subtracts ImageNet's mean of each channel and reverses the channels to BGR; ``tf`` scales pixels
            to -1 to 1.
    """
    if mode == "tf":
        return normalise(x, [127.5] * 3, [127.5] * 3)
    x = normalise(x, [123.68, 116.779, 103.939], [1.0] * 3)
    # Keras has no layer that selects channels: with channels_first, cropping the columns crops the last axis.
    channels = [
        keras.layers.Cropping2D(((0, 0), (i, 2 - i)), data_format="channels_first", name=name)(x)
        for i, name in enumerate(("red", "green", "blue"))
    ]
    return keras.layers.Concatenate(name="bgr")(channels[::-1])


def pad_to(x: KerasTensor, height: int, width: int, *, name: str) -> KerasTensor:
    """Zero-pad images to at least (height, width), centred."""
    missing = (max(0, height - x.shape[1]), max(0, width - x.shape[2]))
    if missing == (0, 0):
        return x
    padding = tuple((m // 2, math.ceil(m / 2)) for m in missing)
    return keras.layers.ZeroPadding2D(padding, name=name)(x)
