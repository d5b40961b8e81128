"""Resizing of images to the geometry of the network's input."""

import math

import cv2
import numpy as np
from PIL import Image

from convoy.images.bad_image import BadImage
from convoy.images.decode import Picture, convert, read
from convoy.images.geometry import Geometry

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}
# Minimum number of decoded pixels per target pixel for a JPEG decoded at a reduced scale: with these, each filter's
# result is equally close to that of a full decode, 3 grey levels and 33 dB (tests/images/test_scaled.py). Bilinear
# blurs more than the eighth that may be missing; area averages whole pixels, so it needs more; nearest picks pixels.
_PIXELS_NEEDED = {"bilinear": 0.85, "bicubic": 1.0, "lanczos": 1.0, "area": 2.0}
_NEARLY = 0.75
"""Target pixels per source pixel from which bilinear scaling needs no antialiasing; OpenCV is four times as fast as
Pillow there."""
_SCALES = (1, 2, 3, 4, 5)  # eighths; 6 and 7 take longer than a full decode, whose inverse DCT is vectorised


def prepare(payload: bytes | np.ndarray, geometry: Geometry) -> np.ndarray:
    """Convert an encoded or decoded image to the target geometry.

    A JPEG that is reduced in size may be decoded at a reduced scale: its pixels then differ slightly from those of a
    full decode followed by the same antialiased scaling (for photographs by 1 to 3 grey levels on average).

    Args:
        payload: Encoded bytes, or uint8 pixels of shape (H, W) or (H, W, 1 | 3).
        geometry: The target.

    Returns:
        uint8 array of shape ``geometry.shape``; the unchanged pixels of the source if the size matches.

    Raises:
        BadImage: The bytes cannot be decoded, or the policy is ``none`` and the size differs.
    """
    return prepare_measured(payload, geometry)[0]


def prepare_measured(
    payload: bytes | np.ndarray, geometry: Geometry, notes: list[str] | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """Convert an image as ``prepare`` does; return it and its original (height, width), upright.

    Args:
        payload: As for ``prepare``.
        geometry: The target.
        notes: If given, keys of ``REPAIRS`` and ``OBSERVATIONS`` are appended.
    """
    if isinstance(payload, np.ndarray):
        pixels = convert(payload, geometry.channels)
        height, width = pixels.shape[:2]
        if not pixels.size:
            raise BadImage("empty", f"{width}x{height} pixels")
        return _fit(Picture(pixels, height, width, (0, 0, width, height)), geometry), (height, width)
    picture = read(
        payload, geometry.channels, lambda height, width: _eighths(height, width, geometry), geometry.value_range
    )
    if notes is not None and picture.notes:
        notes.extend(picture.notes)
    return _fit(picture, geometry), (picture.height, picture.width)


def _eighths(height: int, width: int, geometry: Geometry) -> int:
    """Return the scale, in eighths, at which a JPEG of that size has enough pixels for the geometry."""
    if geometry.resize == "none" or geometry.interpolation not in _PIXELS_NEEDED:
        return 8
    sides = (height / geometry.height, width / geometry.width)
    ratio = max(sides) if geometry.resize == "letterbox" else min(sides)  # source pixels per target pixel
    needed = 8 * _PIXELS_NEEDED[geometry.interpolation] / ratio
    return next((scale for scale in _SCALES if scale >= needed), 8)


def _fit(picture: Picture, geometry: Geometry) -> np.ndarray:
    """Resize according to the geometry's policy."""
    height, width = picture.height, picture.width
    target = (geometry.height, geometry.width)
    if (height, width) == target:
        return picture.pixels
    if geometry.resize == "none":
        raise BadImage("size", f"{height}x{width} pixels (height x width), {target[0]}x{target[1]} expected")
    if geometry.resize == "stretch":
        return _scale(picture.pixels, *target, picture.box, geometry)
    if geometry.resize == "center_crop":
        ratio = min(height / target[0], width / target[1])  # source pixels per target pixel
        left, top, right, bottom = picture.box
        margin_x = (right - left) * (1 - min(1, target[1] * ratio / width)) / 2
        margin_y = (bottom - top) * (1 - min(1, target[0] * ratio / height)) / 2
        return _scale(
            picture.pixels, *target, (left + margin_x, top + margin_y, right - margin_x, bottom - margin_y), geometry
        )
    ratio = min(target[0] / height, target[1] / width)
    rows = min(target[0], max(1, round(height * ratio)))
    columns = min(target[1], max(1, round(width * ratio)))
    top, left = (target[0] - rows) // 2, (target[1] - columns) // 2
    canvas = np.zeros(geometry.shape, np.uint8)
    scaled = _scale(picture.pixels, rows, columns, picture.box, geometry)
    canvas[top : top + rows, left : left + columns] = scaled
    return canvas


def _scale(
    pixels: np.ndarray, height: int, width: int, box: tuple[float, float, float, float], geometry: Geometry
) -> np.ndarray:
    """Scale the box (left, top, right, bottom) of the pixels."""
    left, top, right, bottom = box
    if geometry.interpolation == "bilinear" and left == int(left) and top == int(top):
        across, down = width / (right - left), height / (bottom - top)
        if min(across, down) >= _NEARLY:
            cut = pixels[int(top) : math.ceil(bottom), int(left) : math.ceil(right)]
            # With factors instead of a size, OpenCV scales exactly by these: the box may end within a pixel.
            scaled = cv2.resize(cut, None, fx=across, fy=down, interpolation=cv2.INTER_LINEAR)
            return scaled[:height, :width].reshape(height, width, pixels.shape[2])
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    scaled = np.asarray(image.resize((width, height), _FILTERS[geometry.interpolation], box=box))
    return scaled.reshape(height, width, pixels.shape[2])
