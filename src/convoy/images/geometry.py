"""The size that every image is brought to, and what a stored sample looks like as an array."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ArraySpec:
    """Shape and type that all samples of a dataset have.

    Attributes:
        shape: Of one sample; the last axis is that of the channels.
        dtype: NumPy's name of the type of its values, e.g. ``float32``.
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of one sample's values."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


@dataclass(frozen=True)
class Geometry:
    """Target geometry; it travels with the dataset and then inside the model.

    Attributes:
        height: Pixels.
        width: Pixels.
        channels: 1 (grey) or 3 (RGB).
        resize: ``stretch`` | ``letterbox`` | ``center_crop`` | ``none``.
        interpolation: ``nearest`` | ``bilinear`` | ``bicubic`` | ``lanczos`` | ``area``.
    """

    height: int
    width: int
    channels: int
    resize: str
    interpolation: str = "bilinear"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return (self.height, self.width, self.channels)

    @property
    def spec(self) -> ArraySpec:
        """Of an image that was brought to this geometry."""
        return ArraySpec(self.shape, "uint8")
