"""Decoding of encoded bytes to pixels. The type is detected from the content, never from a name.

JPEGs are decoded by libjpeg-turbo through simplejpeg: it returns the same pixels as Pillow, is faster, can decode at a
reduced scale, and reports damage that Pillow ignores. OpenCV decodes common PNGs, after their checksums are verified.
Pillow decodes everything else, and JPEGs that simplejpeg does not support (CMYK, unusual subsampling). The grey value
of a colour JPEG is the luminance that the file stores; of any other colour image it is ITU-R 601's, rounded. The two
differ by rounding, and where a colour was out of range.
"""

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from PIL import Image, JpegImagePlugin
from PIL.PngImagePlugin import PngImageFile

from convoy.images import deep, dicom, header, jpeg, png, tiff
from convoy.images.bad_image import BadImage, first_line
from convoy.images.geometry import channels_last
from convoy.images.orientation import upright
from convoy.images.quiet import quiet
from convoy.images.recognise import jpeg_from_start, kind_of
from convoy.images.value_range import DeepPixels, ValueRange, eight_bits

with contextlib.suppress(AttributeError):  # old versions of OpenCV do not print warnings of damaged files
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)

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
        notes: Keys of ``REPAIRS`` and ``OBSERVATIONS``.
    """

    pixels: np.ndarray
    height: int
    width: int
    box: tuple[float, float, float, float]
    notes: tuple[str, ...] = ()


def decode(content: bytes, channels: int, value_range: ValueRange | None = None) -> np.ndarray:
    """Decode an image (the first frame or page) to 8-bit grey or RGB.

    Args:
        content: The encoded file, of a kind that ``recognise.kind_of`` returns.
        channels: 1 for grey, 3 for RGB. Other kinds are converted: alpha is composited on black.
        value_range: How values of more than 8 bits become 0 to 255; by default those that the file states, else of
            unsigned 16 bits the upper 8 are kept, and others are refused.

    Returns:
        uint8 array of shape (height, width, channels), upright (EXIF orientation is applied).

    Raises:
        BadImage: ``empty``, ``not_an_image``, ``too_large``, ``truncated``, ``corrupt``, ``unsupported``, ``channels``
            or ``not_finite``.
    """
    return read(content, channels, lambda height, width: 8, value_range or ValueRange()).pixels


def read(content: bytes, channels: int, eighths: Callable[[int, int], int], value_range: ValueRange) -> Picture:
    """Decode as ``decode`` does, but a JPEG at a reduced scale if that is sufficient.

    Args:
        content: The encoded file.
        channels: 1 or 3.
        eighths: (height, width) of the upright image -> the sufficient scale, 1 to 8 eighths.
        value_range: How values of more than 8 bits become 0 to 255.
    """
    kind = kind_of(content)
    try:
        if kind == "jpeg":
            return _jpeg(content, channels, eighths)
        if kind == "png":
            return _png(content, channels, value_range)
        return _other(kind, content, channels, value_range)
    except BadImage:
        raise
    except MemoryError:
        raise BadImage("too_large", f"the {kind} does not fit into memory") from None
    except Exception as error:  # a decoder may raise anything for malicious bytes; the job must continue
        text = first_line(error)
        early = isinstance(error, EOFError | IndexError) or "truncated" in text.lower() or "requires a buffer" in text
        raise BadImage("truncated" if early else "corrupt", f"the {kind}: {text}") from None


def _whole(pixels: np.ndarray, notes: tuple[str, ...] = ()) -> Picture:
    height, width = pixels.shape[:2]
    return Picture(pixels, height, width, (0, 0, width, height), notes)


def _jpeg(content: bytes, channels: int, eighths: Callable[[int, int], int]) -> Picture:
    try:
        return _jpeg_strictly(content, channels, eighths, header_of=content)
    except _Damage as damage:
        text = str(damage)
    except BadImage as bad:
        if bad.reason != "corrupt" or content.startswith(b"\xff\xd8\xff"):
            raise  # else it has bytes before its first segment, with which no decoder opens it
        text = bad.detail
    # A decoder reports stray bytes and damaged profiles in the same way as damaged pixels: decode without the former.
    try:
        clean, repair = jpeg.cleaned(content)
    except IndexError:
        raise BadImage("truncated", f"the jpeg ends after {len(content)} bytes, before its pixels") from None
    try:
        picture = _jpeg_strictly(clean, channels, eighths, header_of=content)
    except _Damage as damage:
        padding = _PADDING.search(str(damage))
        clean = (padding and jpeg.without_padding(clean, int(padding[1]))) or b""
        if not clean:
            raise BadImage("corrupt", f"the jpeg: {text}") from None
        repair = "stray_bytes"
        try:
            picture = _jpeg_strictly(clean, channels, eighths, header_of=content)
        except _Damage:
            raise BadImage("corrupt", f"the jpeg: {text}") from None
    return Picture(picture.pixels, picture.height, picture.width, picture.box, (repair,))


class _Damage(Exception):
    """What libjpeg reports of a JPEG that it decodes nevertheless."""


_PADDING = re.compile(r"(\d+) extraneous bytes before marker 0xd9")


def _jpeg_strictly(content: bytes, channels: int, eighths: Callable[[int, int], int], header_of: bytes) -> Picture:
    """Decode a JPEG; raise ``_Damage`` if libjpeg reports any.

    Args:
        content: The file.
        channels: 1 or 3.
        eighths: As for ``read``.
        header_of: The file that has its metadata.
    """
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(content)
        header.check_size(width, height)
        orientation = jpeg.jpeg_orientation(header_of)
        if space in ("CMYK", "YCCK"):
            simplejpeg.decode_jpeg(content, "CMYK", min_height=1, min_width=1)  # a fast check for damage
            return _jpeg_by_pillow(content, channels, orientation)
        upright_width, upright_height = upright(width, height, orientation)
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
            raise _Damage(text) from None
        if jpeg.is_cut_before_its_pixels(content):  # Pillow reports "corrupt" at the end of a segment
            raise BadImage("truncated", f"the jpeg ends after {len(content)} bytes, before its pixels") from None
        # A harmless anomaly, or damage that Pillow finds too.
        return _jpeg_by_pillow(content, channels, jpeg.jpeg_orientation(header_of))
    box = (0.0, 0.0, width * scale / 8, height * scale / 8)
    if orientation == 1:
        return Picture(pixels, height, width, box)
    return Picture(_turn(pixels, orientation), upright_height, upright_width, _turn_box(box, pixels, orientation))


def _jpeg_by_pillow(content: bytes, channels: int, orientation: int) -> Picture:
    _check_jpeg_frame(content)
    image = header.open_by(JpegImagePlugin.JpegImageFile, "jpeg", content)
    if channels == 1:
        image.draft("L", image.size)  # the stored luminance
    image.load()
    return _whole(_turn(_converted(image, channels), orientation))


def _check_jpeg_frame(content: bytes) -> None:
    """Raise ``BadImage`` (``unsupported``) for JPEGs that no decoder here reads: 12 bits, lossless."""
    marker, bits, *_ = jpeg.frame_of(jpeg_from_start(content))
    if bits not in (0, 8):
        raise BadImage("unsupported", f"a JPEG of {bits} bits, a kind that is not supported; save it as 16-bit PNG")
    if marker in (0xC3, 0xC7, 0xCB, 0xCF):
        raise BadImage("unsupported", "a lossless JPEG, a kind that is not supported; save it as PNG")


def _png(content: bytes, channels: int, value_range: ValueRange) -> Picture:
    width, height, bits, colour = png.size_of(content)
    header.check_size(width, height)
    found = png.read_chunks(content)
    notes = ("bad_chunk",) if found.damaged else ()
    if bits == 8 and colour in (0, 2) and not found.names & {b"tRNS", b"acTL"}:
        # Most PNGs are of this kind, and OpenCV decodes small ones twice as fast as Pillow.
        pixels = None
        if not png.is_padded(content):  # libpng would print a warning
            plain = content if found.names <= png.PLAIN and not found.damaged else png.only_pixels(content)
            pixels = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)
            if pixels is None:
                raise BadImage("corrupt", "the PNG's pixels cannot be decoded")
            pixels = convert(pixels if colour == 0 else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), channels)
            return _whole(_turn(pixels, found.orientation), notes)
    elif bits == 16 and (colour == 0 or found.significant or not value_range.keeps_high_byte()):
        values = deep.png_pixels(content, found)
        pixels = convert(eight_bits(values, value_range), channels)
        return _whole(_turn(pixels, found.orientation), (*notes, *_opacity_notes(values)))
    image = header.open_by(PngImageFile, "png", png.only_pixels(content) if found.damaged else content)
    image.load()
    _scale_transparency(image, bits)
    return _whole(_turn(_converted(image, channels), found.orientation), (*notes, *_alpha_notes(image)))


def _scale_transparency(image: Image.Image, bits: int) -> None:
    """Scale the transparent grey or colour to the range of Pillow's pixels."""
    transparent = image.info.get("transparency")
    if image.mode == "L" and isinstance(transparent, int) and bits < 8:
        image.info["transparency"] = transparent * 255 // (2**bits - 1)
    elif image.mode == "RGB" and isinstance(transparent, tuple) and bits == 16:
        image.info["transparency"] = tuple(value >> 8 for value in transparent)  # Pillow drops the pixels' low bytes


def _alpha_notes(image: Image.Image) -> tuple[str, ...]:
    """Return a note if an image has alpha, but no opaque pixel: the band may not mean opacity."""
    if image.mode not in ("LA", "La", "RGBA", "RGBa"):
        return ()
    return ("alpha_not_opaque",) if image.getextrema()[-1][1] < 255 else ()  # type: ignore[index]


def _opacity_notes(pixels: DeepPixels) -> tuple[str, ...]:
    return ("alpha_not_opaque",) if pixels.opacity is not None and pixels.opacity.max(initial=0) < 255 else ()


def _other(kind: str, content: bytes, channels: int, value_range: ValueRange) -> Picture:
    if kind in ("npy", "dicom"):
        pixels = deep.npy_pixels(content) if kind == "npy" else _dicom(content)
        if isinstance(pixels, DeepPixels):
            pixels = eight_bits(pixels, value_range)
        return _whole(convert(pixels, channels))
    with quiet():
        image = header.open_with(kind, content)
        orientation = header.opened_orientation(kind, image, content)
        notes: tuple[str, ...] = ()
        if kind == "tiff":
            notes = tuple(tiff.notes_of(image))
            if tiff.is_turned_by_pillow(image):
                orientation = 1
        if deep.is_deep(kind, image, value_range):
            found = deep.pillow_pixels(kind, image, content)
            notes = (*notes, *_opacity_notes(found))
            pixels = convert(eight_bits(found, value_range), channels)
        else:
            only_upper_bytes = kind == "tiff" and tiff.has_unknown_range(image)
            image.load()
            if only_upper_bytes:
                tiff.check_upper_bytes(np.asarray(image)[:, :, :3])
            notes = (*notes, *_alpha_notes(image))
            pixels = _converted(image, channels)
    return _whole(_turn(pixels, orientation), notes)


@quiet()
def _dicom(content: bytes) -> np.ndarray | DeepPixels:
    found = dicom.open_dicom(content)
    header.check_size(int(found.Columns), int(found.Rows))
    return dicom.dicom_pixels(found)


def convert(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Convert uint8 pixels of shape (H, W) or (H, W, 1 | 3) to 1 or 3 channels, in the same way as files."""
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        last = channels_last(pixels.shape)
        raise BadImage(
            "channels",
            f"pixels of shape {pixels.shape}, (H, W), (H, W, 1) or (H, W, 3) expected"
            + (f"; the channels are first: give them last by {last}" if last else ""),
        )
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]


def _converted(image: Image.Image, channels: int) -> np.ndarray:
    """Return the pixels of an image in any of Pillow's modes of 8 bits, (H, W, channels)."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode == "LAB":
        image = image.convert("RGB")  # Pillow cannot convert it to grey
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or image.info.get("transparency") is not None:
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
