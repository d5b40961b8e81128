"""Files of a dataset -> pixels, where they are wanted."""

import numpy as np
import simplejpeg

from convoy.images import header
from convoy.images.bad_image import BadImage
from convoy.images.decode import decode

_MAGIC = 12  # bytes by which kinds of files are known


def decode_stored(content: bytes | memoryview, out: np.ndarray) -> None:
    """Decode a file that ingest stored, so an upright one: the pixels that ``decode`` gives, without another copy.

    Args:
        content: The encoded file; a JPEG is not copied.
        out: uint8 (height, width, channels), contiguous; it is overwritten.

    Raises:
        BadImage: As ``decode``, and ``corrupt`` where the image has another size.
    """
    if header.kind_of(bytes(content[:_MAGIC])) == "jpeg":
        try:
            height, width, space, _ = simplejpeg.decode_jpeg_header(content)
            if (height, width) == out.shape[:2] and space not in ("CMYK", "YCCK"):
                simplejpeg.decode_jpeg(content, "GRAY" if out.shape[2] == 1 else "RGB", buffer=out)
                return
        except ValueError:
            pass  # ``decode`` says what is wrong, or reads it in another way
    image = decode(bytes(content), out.shape[2])
    if image.shape != out.shape:
        raise BadImage("corrupt", f"the image has shape {image.shape}, not {out.shape}")
    out[:] = image
