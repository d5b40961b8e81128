"""A decoded image brought to the geometry that the network takes."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from convoy.images.decode import BadImage, decode


@dataclass(frozen=True)
class Geometry:
    """Target geometry; it travels with the dataset and then inside the model.

    Attributes:
        height: Pixels.
        width: Pixels.
        channels: 1 (grey) or 3 (RGB).
        resize: ``stretch`` | ``letterbox`` | ``center_crop`` | ``none``. Interpolation is bilinear with
            antialiasing.
    """

    height: int
    width: int
    channels: int
    resize: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return (self.height, self.width, self.channels)


def prepare(payload: bytes | np.ndarray, geometry: Geometry) -> np.ndarray:
    """Bring an encoded or decoded image to the target geometry.

    Args:
        payload: Encoded bytes, or uint8 pixels of shape (H, W) or (H, W, channels).
        geometry: The target.

    Returns:
        uint8 array of shape ``geometry.shape``; the very pixels of the source when the size fits.

    Raises:
        BadImage: The bytes cannot be decoded, or the policy is ``none`` and the size differs.
    """
    if isinstance(payload, np.ndarray):
        pixels = payload if payload.ndim == 3 else payload[:, :, None]
    else:
        pixels = decode(payload, geometry.channels)
    if pixels.shape[2] != geometry.channels:
        raise BadImage("channels", f"{pixels.shape[2]} channels, {geometry.channels} expected")
    return resize(pixels, geometry)


def resize(pixels: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Resize uint8 pixels (H, W, C) by the geometry's policy; see ``prepare``."""
    height, width = pixels.shape[:2]
    target = (geometry.height, geometry.width)
    if (height, width) == target:
        return pixels
    if geometry.resize == "none":
        raise BadImage("size", f"{height}x{width} pixels (height x width), {target[0]}x{target[1]} expected")
    if geometry.resize == "stretch":
        return _scale(pixels, *target)
    ratios = (target[0] / height, target[1] / width)
    ratio = min(ratios) if geometry.resize == "letterbox" else max(ratios)
    scaled_height, scaled_width = max(1, round(height * ratio)), max(1, round(width * ratio))
    if geometry.resize == "letterbox":
        scaled = _scale(pixels, min(scaled_height, target[0]), min(scaled_width, target[1]))
        canvas = np.zeros(geometry.shape, np.uint8)
        top, left = (target[0] - scaled.shape[0]) // 2, (target[1] - scaled.shape[1]) // 2
        canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
        return canvas
    scaled = _scale(pixels, max(scaled_height, target[0]), max(scaled_width, target[1]))
    top, left = (scaled.shape[0] - target[0]) // 2, (scaled.shape[1] - target[1]) // 2
    return scaled[top : top + target[0], left : left + target[1]]


def _scale(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    scaled = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return scaled.reshape(height, width, pixels.shape[2])
