"""Decoding of a dataset's files into existing arrays."""

import numpy as np
import simplejpeg

from convoy.images.bad_image import BadImage
from convoy.images.decode import decode
from convoy.images.recognise import kind_of

_MAGIC = 12  # bytes that identify the type of a file


def decode_stored(content: bytes | memoryview, out: np.ndarray) -> None:
    """Decode a file stored by ingest, which is upright, into an array; the pixels are those of ``decode``.

    Args:
        content: The encoded file; a JPEG is not copied.
        out: uint8 (height, width, channels), contiguous; it is overwritten.

    Raises:
        BadImage: As ``decode``, and ``corrupt`` if the image has another size.
    """
    if kind_of(bytes(content[:_MAGIC])) == "jpeg":
        try:
            height, width, space, _ = simplejpeg.decode_jpeg_header(content)
            if (height, width) == out.shape[:2] and space not in ("CMYK", "YCCK"):
                simplejpeg.decode_jpeg(content, "GRAY" if out.shape[2] == 1 else "RGB", buffer=out)
                return
        except ValueError:
            pass  # ``decode`` reports the error, or decodes it with Pillow
    image = decode(bytes(content), out.shape[2])
    if image.shape != out.shape:
        raise BadImage("corrupt", f"the image has shape {image.shape}, not {out.shape}")
    out[:] = image
