"""The size that every image is brought to."""

from dataclasses import dataclass


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
