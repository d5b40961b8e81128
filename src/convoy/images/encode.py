"""Pixels -> files, for storage; and which files may be stored as they are."""

import struct
import zlib

import numpy as np
import simplejpeg

from convoy.images.geometry import Geometry
from convoy.images.header import ImageInfo


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode uint8 pixels (H, W, 1 | 3) as PNG.

    Every row is stored as its difference from the one above, compressed at zlib's quickest level: about twice as fast
    as Pillow's encoder at that level, files 2 % larger on photographs and 7 % on digits.
    """
    height, width, channels = pixels.shape
    flat = pixels.reshape(height, width * channels)
    rows = np.empty((height, 1 + width * channels), np.uint8)
    rows[:, 0] = 2  # PNG's filter "up"
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])  # modulo 256, as PNG has it
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

    Colour is stored at full resolution (4:4:4). What is stored is about as small as the network's input, where halved
    colour costs most: at 32x32 pixels, 4:2:0 takes 0.92 of the bytes and 2 dB.

    Args:
        pixels: The image.
        quality: libjpeg's, 1 to 100.
    """
    pixels = np.ascontiguousarray(pixels)
    if pixels.shape[2] == 1:
        return simplejpeg.encode_jpeg(pixels, quality, "GRAY", "Gray")
    return simplejpeg.encode_jpeg(pixels, quality, "RGB", "444")


def fits(info: ImageInfo, geometry: Geometry) -> bool:
    """Whether a file can be stored as it is: any decoder makes of it what ``prepare`` does.

    The header alone is judged: that the pixels can be decoded is for ``prepare`` to find out.
    """
    return (
        info.kind in ("png", "jpeg")
        and info.plain
        and info.bits == 8
        and (info.height, info.width, info.channels) == geometry.shape
    )


def _chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(payload, zlib.crc32(name)))
