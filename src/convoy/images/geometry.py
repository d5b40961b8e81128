"""The target size of images, and the shape and type of a stored sample."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ArraySpec:
    """Shape and type of all samples of a dataset.

    Attributes:
        shape: Shape of one sample, channels last.
        dtype: NumPy's name of the type of its values, e.g. ``float32``.
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Return the number of bytes of one sample's values."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


@dataclass(frozen=True)
class Geometry:
    """Target geometry of images; it is stored in the dataset and in the model.

    Attributes:
        height: Height in pixels.
        width: Width in pixels.
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
        """Return (height, width, channels)."""
        return (self.height, self.width, self.channels)

    @property
    def spec(self) -> ArraySpec:
        """Return the shape and type of an image with this geometry."""
        return ArraySpec(self.shape, "uint8")
