"""Encoded bytes -> pixels. The type is found from the content, never from a name."""

import io
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 100_000_000
"""Larger images are refused from their header, before memory is spent on them."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # no EPS: Pillow would start Ghostscript for it


class BadImage(Exception):
    """An image that cannot be used.

    Attributes:
        reason: A short, fixed word for counting, e.g. ``"truncated"``.
        detail: What exactly was found.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def decode(content: bytes, channels: int) -> np.ndarray:
    """Decode an image (JPEG, PNG, WebP, BMP, GIF, TIFF) to 8-bit grey or RGB.

    Args:
        content: The encoded file.
        channels: 1 for grey, 3 for RGB; other kinds are converted (alpha is composed on black).

    Returns:
        uint8 array of shape (height, width, channels).

    Raises:
        BadImage: ``empty``, ``not_an_image``, ``too_large``, ``truncated`` or ``corrupt``.
    """
    if not content:
        raise BadImage("empty", "the file has no bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on damaged files, and its own limit: MAX_PIXELS decides here
        image = _open(content)
        try:
            image.load()
            pixels = np.asarray(_to_mode(image, "L" if channels == 1 else "RGB"))
        except OSError as error:
            reason = "truncated" if "truncated" in str(error) else "corrupt"
            raise BadImage(reason, str(error)) from None
        except Exception as error:  # a decoder may fail on hostile bytes in any way; the job must go on
            raise BadImage("corrupt", f"{type(error).__name__}: {error}") from None
    return pixels.reshape(image.height, image.width, channels)


def _open(content: bytes) -> Image.Image:
    """Read the header only."""
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        raise BadImage("not_an_image", f"no known image type begins with {content[:8].hex(' ')}") from None
    except Image.DecompressionBombError as error:
        raise BadImage("too_large", str(error)) from None
    except Exception as error:
        raise BadImage("corrupt", f"{type(error).__name__}: {error}") from None
    if image.width * image.height > MAX_PIXELS:
        raise BadImage("too_large", f"{image.width}x{image.height} pixels, at most {MAX_PIXELS:,} are decoded")
    return image


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == mode:
        return image
    if image.mode.startswith("I"):  # 16- and 32-bit grey: keep the high byte instead of clipping
        high = np.asarray(image).astype(np.int64) >> 8
        return Image.fromarray(np.clip(high, 0, 255).astype(np.uint8)).convert(mode)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, rgba).convert(mode)
    return image.convert(mode)
