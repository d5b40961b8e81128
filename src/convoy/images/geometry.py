"""The target size of images, and the shape and type of a stored sample."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from convoy.images.value_range import ValueRange


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
        value_range: How values of more than 8 bits become 0 to 255.
    """

    height: int
    width: int
    channels: int
    resize: str
    interpolation: str = "bilinear"
    value_range: ValueRange = field(default_factory=ValueRange)

    def __post_init__(self) -> None:
        if isinstance(self.value_range, dict):  # from JSON
            object.__setattr__(self, "value_range", ValueRange.from_dict(self.value_range))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (height, width, channels)."""
        return (self.height, self.width, self.channels)

    @property
    def spec(self) -> ArraySpec:
        """Return the shape and type of an image with this geometry."""
        return ArraySpec(self.shape, "uint8")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON, from which ``Geometry(**fields)`` restores it; without the default value range.

        Without it, versions of Convoy that do not have the field can read datasets and models of 8-bit images.
        """
        fields = asdict(self)
        if self.value_range == ValueRange():
            del fields["value_range"]
        return fields


def channels_last(shape: Sequence[int | None], batch: bool = False) -> str | None:
    """Return the transposition to type if a sample's shape is that of an image with its channels first, else None.

    Args:
        shape: Shape of a sample, e.g. (3, 32, 32), or of a volume, (3, 16, 32, 32). With 1 or 3 channels, all sizes
            from 8 count as height and width; with 2 or 4 to 16, only equal ones above 16.
        batch: Whether the transposition is that of an array of samples, (N, 3, 32, 32).
    """
    if len(shape) not in (3, 4) or None in shape:
        return None
    first, *sides = (int(side) for side in shape if side is not None)
    image = first in (1, 3) and min(sides) >= 8
    if not image and not (len(shape) == 3 and 2 <= first <= 16 and sides[0] == sides[1] > 16):
        return None
    order = (*range(1, len(shape)), 0)
    return f"transpose{(0, *(axis + 1 for axis in order)) if batch else order}"
