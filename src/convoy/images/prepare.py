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
        pixels = _convert(pixels, geometry.channels)
    return resize(pixels, geometry)


def _convert(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Grey to RGB or RGB to grey, as files are converted."""
    if pixels.shape[2] not in (1, 3):
        raise BadImage("channels", f"{pixels.shape[2]} channels, 1 or 3 expected")
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    converted = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return converted.reshape(*pixels.shape[:2], channels)


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
    if geometry.resize == "center_crop":
        ratio = min(height / target[0], width / target[1])  # source pixels per target pixel
        cut = (target[0] * ratio, target[1] * ratio)
        top, left = (height - cut[0]) / 2, (width - cut[1]) / 2
        return _scale(pixels, *target, box=(left, top, left + cut[1], top + cut[0]))
    ratio = min(target[0] / height, target[1] / width)
    scaled = _scale(pixels, min(target[0], max(1, round(height * ratio))), min(target[1], max(1, round(width * ratio))))
    canvas = np.zeros(geometry.shape, np.uint8)
    top, left = (target[0] - scaled.shape[0]) // 2, (target[1] - scaled.shape[1]) // 2
    canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return canvas


def _scale(
    pixels: np.ndarray, height: int, width: int, box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Scale the pixels, or the box (left, top, right, bottom) of them."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    scaled = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))
    return scaled.reshape(height, width, pixels.shape[2])
