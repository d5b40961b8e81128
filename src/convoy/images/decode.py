"""Decoding of encoded bytes to pixels. The type is detected from the content, never from a name.

JPEGs are decoded by libjpeg-turbo through simplejpeg: it returns the same pixels as Pillow, is faster, can decode at a
reduced scale, and reports damage that Pillow ignores. OpenCV decodes common PNGs, after their checksums are verified.
Pillow decodes everything else, and JPEGs that simplejpeg does not support (CMYK, unusual subsampling). The grey value
of a colour JPEG is the luminance that the file stores; of any other colour image it is ITU-R 601's, rounded. The two
differ by rounding, and where a colour was out of range.
"""

import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from PIL import Image, JpegImagePlugin
from PIL.PngImagePlugin import PngImageFile

from convoy.images import header
from convoy.images.bad_image import BadImage

# Operations that turn an image upright: transpose, then flip up-down, then flip left-right.
_UPRIGHT = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclass(frozen=True)
class Picture:
    """Decoded pixels, possibly at a reduced scale.

    Attributes:
        pixels: uint8 array of shape (rows, columns, channels), upright.
        height: Height of the image at full scale.
        width: Width of the image at full scale.
        box: (left, top, right, bottom) of the image within ``pixels``. At a reduced scale it may end within a pixel.
    """

    pixels: np.ndarray
    height: int
    width: int
    box: tuple[float, float, float, float]


def decode(content: bytes, channels: int) -> np.ndarray:
    """Decode an image (JPEG, PNG, WebP, BMP, GIF's first frame, TIFF's first page, ``.npy``) to 8-bit grey or RGB.

    Args:
        content: The encoded file.
        channels: 1 for grey, 3 for RGB. Other kinds are converted: alpha is composited on black, and of 16 bits the
            upper 8 are kept.

    Returns:
        uint8 array of shape (height, width, channels), upright (EXIF orientation is applied).

    Raises:
        BadImage: ``empty``, ``not_an_image``, ``too_large``, ``truncated``, ``corrupt``, ``unsupported`` or
            ``channels``.
    """
    return read(content, channels, lambda height, width: 8).pixels


def read(content: bytes, channels: int, eighths: Callable[[int, int], int]) -> Picture:
    """Decode as ``decode`` does, but a JPEG at a reduced scale if that is sufficient.

    Args:
        content: The encoded file.
        channels: 1 or 3.
        eighths: (height, width) of the upright image -> the sufficient scale, 1 to 8 eighths.
    """
    kind = header.kind_of(content)
    try:
        if kind == "jpeg":
            return _jpeg(content, channels, eighths)
        if kind == "npy":
            return _whole(_npy(content, channels))
        pixels, orientation = _png(content, channels) if kind == "png" else _other(kind, content, channels)
        return _whole(_turn(pixels, orientation) if orientation > 1 else pixels)
    except BadImage:
        raise
    except MemoryError:
        raise BadImage("too_large", f"the {kind} does not fit into memory") from None
    except Exception as error:  # a decoder may raise anything for malicious bytes; the job must continue
        text = str(error) or type(error).__name__
        early = isinstance(error, EOFError | IndexError) or "truncated" in text.lower() or "requires a buffer" in text
        raise BadImage("truncated" if early else "corrupt", f"the {kind}: {text.splitlines()[0]}") from None


def _whole(pixels: np.ndarray) -> Picture:
    height, width = pixels.shape[:2]
    return Picture(pixels, height, width, (0, 0, width, height))


def _jpeg(content: bytes, channels: int, eighths: Callable[[int, int], int]) -> Picture:
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(content)
        header.check_size(width, height)
        if space in ("CMYK", "YCCK"):
            simplejpeg.decode_jpeg(content, "CMYK", min_height=1, min_width=1)  # a fast check for damage
            return _jpeg_by_pillow(content, channels)
        orientation = header.jpeg_orientation(content)
        upright_width, upright_height = header.upright(width, height, orientation)
        scale = eighths(upright_height, upright_width) if min(height, width) >= 8 else 8
        # simplejpeg takes a size: pass the one that only this scale has (8 rows or more differ at every scale).
        least = (-(-height * scale // 8), -(-width * scale // 8)) if scale < 8 else (0, 0)
        pixels = simplejpeg.decode_jpeg(
            content, "GRAY" if channels == 1 else "RGB", min_height=least[0], min_width=least[1]
        )
    except ValueError as error:
        text = str(error)
        if text.startswith("Premature end"):
            raise BadImage("truncated", f"the jpeg: {text}") from None
        if text.startswith("Corrupt JPEG data"):
            raise BadImage("corrupt", f"the jpeg: {text}") from None
        if _jpeg_header_is_cut(content):  # Pillow reports "corrupt" at the end of a segment
            raise BadImage("truncated", f"the jpeg ends after {len(content)} bytes, before its pixels") from None
        return _jpeg_by_pillow(content, channels)  # a harmless anomaly, or damage that Pillow finds too
    box = (0.0, 0.0, width * scale / 8, height * scale / 8)
    if orientation == 1:
        return Picture(pixels, height, width, box)
    return Picture(_turn(pixels, orientation), upright_height, upright_width, _turn_box(box, pixels, orientation))


def _jpeg_header_is_cut(content: bytes) -> bool:
    """Return whether the JPEG ends before its pixels begin."""
    try:
        for _ in header.jpeg_segments(content):
            pass
    except (struct.error, IndexError):
        return True
    except BadImage:
        pass  # damaged earlier
    return False


def _jpeg_by_pillow(content: bytes, channels: int) -> Picture:
    image = header.open_with(JpegImagePlugin.JpegImageFile, content)
    header.check_size(*image.size)
    if channels == 1:
        image.draft("L", image.size)  # the stored luminance
    image.load()
    return _whole(_turn(_converted(image, channels), header.jpeg_orientation(content)))


def _png(content: bytes, channels: int) -> tuple[np.ndarray, int]:
    width, height, bits, colour = header.png_size(content)
    header.check_size(width, height)
    orientation, names = 1, set()
    for name, payload in header.png_chunks(content):
        names.add(name)
        if name == b"eXIf":
            orientation = header.exif_orientation(bytes(payload))
    if bits == 8 and colour in (0, 2) and not names & {b"tRNS", b"acTL"}:
        # Most PNGs are of this kind, and OpenCV decodes small ones twice as fast as Pillow.
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise BadImage("corrupt", "the PNG's pixels cannot be decoded")
        return convert(pixels if colour == 0 else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), channels), orientation
    image = header.open_with(PngImageFile, content)
    image.load()
    _scale_transparency(image, bits)
    return _converted(image, channels), orientation


def _scale_transparency(image: Image.Image, bits: int) -> None:
    """Scale the transparent grey or colour to the range of Pillow's pixels."""
    transparent = image.info.get("transparency")
    if image.mode == "L" and isinstance(transparent, int) and bits < 8:
        image.info["transparency"] = transparent * 255 // (2**bits - 1)
    elif image.mode == "RGB" and isinstance(transparent, tuple) and bits == 16:
        image.info["transparency"] = tuple(value >> 8 for value in transparent)  # Pillow drops the pixels' low bytes


def _other(kind: str, content: bytes, channels: int) -> tuple[np.ndarray, int]:
    if kind == "webp":
        width, height, _ = header.webp_size(content)
        header.check_size(width, height)  # libwebp reserves memory when a file is opened
    image = header.open_with(header.PLUGINS[kind], content)
    header.check_size(*image.size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about damaged metadata
        image.load()  # turns a TIFF upright
    if image.mode == "F":
        raise BadImage("unsupported", f"the {kind} has floating-point pixels, whose range is unknown")
    return _converted(image, channels), header.webp_orientation(content) if kind == "webp" else 1


def _npy(content: bytes, channels: int) -> np.ndarray:
    shape, fortran, dtype, start = header.npy_header(content)
    header.check_size(shape[1], shape[0])
    count = shape[0] * shape[1] * (shape[2] if len(shape) == 3 else 1)
    if len(content) < start + count:
        raise BadImage("truncated", f"the npy has {len(content) - start} bytes of pixels, {count} expected")
    values = np.frombuffer(content, dtype, count, start).reshape(shape, order="F" if fortran else "C")
    return convert(np.ascontiguousarray(values.reshape(shape[0], shape[1], -1)), channels)


def convert(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Convert uint8 pixels of shape (H, W) or (H, W, 1 | 3) to 1 or 3 channels, in the same way as files."""
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise BadImage("channels", f"pixels of shape {pixels.shape}, (H, W), (H, W, 1) or (H, W, 3) expected")
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]


def _converted(image: Image.Image, channels: int) -> np.ndarray:
    """Return the pixels of an image in any of Pillow's modes, (H, W, channels)."""
    mode = "L" if channels == 1 else "RGB"
    transparent = image.info.get("transparency")
    if image.mode.startswith("I"):  # 16- and 32-bit grey: keep the high byte instead of clipping
        values = np.asarray(image)
        high = np.clip(values.astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        if isinstance(transparent, int):
            high[values == transparent] = 0
        return convert(high, channels)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or transparent is not None:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    if image.mode != mode:
        image = image.convert(mode)
    return np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, channels)


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels upright."""
    if orientation == 1:
        return pixels
    transposed, up_down, left_right = _UPRIGHT[orientation]
    if transposed:
        pixels = pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(pixels[:: -1 if up_down else 1, :: -1 if left_right else 1])


def _turn_box(
    box: tuple[float, float, float, float], pixels: np.ndarray, orientation: int
) -> tuple[float, float, float, float]:
    """Return the place of a box that begins at the top left, after ``_turn``."""
    transposed, up_down, left_right = _UPRIGHT[orientation]
    rows, columns, (_, _, right, bottom) = *pixels.shape[:2], box
    if transposed:
        rows, columns, right, bottom = columns, rows, bottom, right
    left, top = (columns - right if left_right else 0), (rows - bottom if up_down else 0)
    return (left, top, left + right, top + bottom)
