"""Encoding of pixels for storage, and a check whether a file can be stored unchanged."""

import struct
import zlib

import numpy as np
import simplejpeg

from convoy.images.geometry import Geometry
from convoy.images.header import ImageInfo


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode uint8 pixels (H, W, 1 | 3) as PNG.

    Every row is stored as its difference from the one above, compressed at zlib's fastest level: about twice as fast
    as Pillow's encoder at that level, with files 2 % larger for photographs and 7 % larger for digits.
    """
    height, width, channels = pixels.shape
    flat = pixels.reshape(height, width * channels)
    rows = np.empty((height, 1 + width * channels), np.uint8)
    rows[:, 0] = 2  # PNG's filter "up"
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])  # modulo 256, as in PNG
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(rows.data, 1)),
            _chunk(b"IEND", b""),
        )
    )


def encode_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """Encode uint8 pixels (H, W, 1 | 3) as baseline JPEG.

    Colour is stored at full resolution (4:4:4). Stored images are about as small as the network's input, where
    subsampled colour loses most: at 32x32 pixels, 4:2:0 needs 0.92 of the bytes and loses 2 dB.

    Args:
        pixels: The image.
        quality: libjpeg's quality, 1 to 100.
    """
    pixels = np.ascontiguousarray(pixels)
    if pixels.shape[2] == 1:
        return simplejpeg.encode_jpeg(pixels, quality, "GRAY", "Gray")
    return simplejpeg.encode_jpeg(pixels, quality, "RGB", "444")


def fits(info: ImageInfo, geometry: Geometry) -> bool:
    """Return whether a file can be stored unchanged: any decoder returns the same pixels as ``prepare``.

    Only the header is checked; ``prepare`` checks whether the pixels can be decoded.
    """
    return (
        info.kind in ("png", "jpeg")
        and info.plain
        and info.bits == 8
        and (info.height, info.width, info.channels) == geometry.shape
    )


def _chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(payload, zlib.crc32(name)))
