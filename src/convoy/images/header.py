"""Reading of image headers without decoding pixels. The type is detected from the content."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, ImageFile, TiffImagePlugin, WebPImagePlugin

from convoy.images.bad_image import BadImage

MAX_PIXELS = 100_000_000
"""Larger images are rejected by their header, before memory is allocated for them."""

PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "webp": WebPImagePlugin.WebPImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
}
_GREY_MODES = ("1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L")
# Frames that libjpeg and every other decoder support: baseline, extended and progressive Huffman coding.
_COMMON_FRAMES = (0xC0, 0xC1, 0xC2)
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))


@dataclass(frozen=True)
class ImageInfo:
    """The content of an image's header.

    Attributes:
        kind: ``jpeg`` | ``png`` | ``webp`` | ``bmp`` | ``gif`` | ``tiff`` | ``npy``.
        width: Width in pixels, after EXIF orientation.
        height: Height in pixels, after EXIF orientation.
        channels: 1 if the image is grey, else 3.
        bits: Bits per value, as stored (with a palette: per index).
        plain: Whether pixels are stored upright, opaque, and as grey or colour values: every decoder returns the same.
        orientation: EXIF orientation, 1 (upright) to 8.
    """

    kind: str
    width: int
    height: int
    channels: int
    bits: int
    plain: bool
    orientation: int = 1


def kind_of(content: bytes) -> str:
    """Return the kind of file (see ``ImageInfo.kind``), or raise ``BadImage``: ``empty``, ``not_an_image``."""
    if not content:
        raise BadImage("empty", "the file has no bytes")
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if content.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tiff"
    if content.startswith(b"\x93NUMPY"):
        return "npy"
    if content.startswith(b"BM"):
        return "bmp"
    raise BadImage("not_an_image", f"no known image type begins with {content[:8].hex(' ')}")


def identify(content: bytes) -> ImageInfo:
    """Describe an image from its header; no pixel is decoded.

    Args:
        content: The encoded file.

    Raises:
        BadImage: ``empty``, ``not_an_image``, ``truncated``, ``corrupt``, ``unsupported`` or ``too_large``.
    """
    kind = kind_of(content)
    try:
        info = _READERS[kind](content)
    except (struct.error, IndexError, EOFError) as error:
        raise BadImage("truncated", f"the {kind} header ends early ({error})") from None
    check_size(info.width, info.height)
    return info


def check_size(width: int, height: int) -> None:
    """Raise ``BadImage`` (``too_large`` or ``empty``) for a size that is not decoded."""
    if width < 1 or height < 1:
        raise BadImage("empty", f"{width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise BadImage("too_large", f"{width}x{height} pixels, at most {MAX_PIXELS:,} are decoded")


def upright(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Return (width, height) after EXIF orientation."""
    return (height, width) if orientation >= 5 else (width, height)


def exif_orientation(exif: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, from its TIFF structure; 1 if it is missing or invalid."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, offset)
        for i in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, offset + 2 + 12 * i)
            if tag == 0x0112:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        pass  # damaged EXIF does not harm the pixels
    return 1


def jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, payload) of every segment before the pixels."""
    at = 2
    while True:
        if content[at] != 0xFF:
            raise BadImage("corrupt", f"byte {at} of the JPEG is not a marker")
        marker = content[at + 1]
        at += 1
        if marker == 0xFF:  # padding
            continue
        at += 1
        if marker == 0xDA or marker == 0xD9:
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # have no payload
            continue
        (length,) = struct.unpack_from(">H", content, at)
        yield marker, content[at + 2 : at + length]
        at += max(length, 2)


def jpeg_orientation(content: bytes) -> int:
    """Return the JPEG's EXIF orientation; 1 if there is none."""
    if content.find(b"Exif\0\0", 0, 1 << 18) < 0:  # most files have none, and the search is fast
        return 1
    try:
        for marker, payload in jpeg_segments(content):
            if marker == 0xE1 and payload.startswith(b"Exif\0\0"):
                return exif_orientation(payload)
    except (struct.error, IndexError, BadImage):
        pass  # the decoder reports damage
    return 1


def png_chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield (name, payload) of every chunk, with checksums verified: nothing else reveals damaged pixels."""
    at, end, view = 8, len(content), memoryview(content)
    while True:
        if at + 12 > end:
            raise BadImage("truncated", f"the PNG ends after {end} bytes, before its last chunk")
        length = int.from_bytes(view[at : at + 4], "big")
        name = content[at + 4 : at + 8]
        if at + 12 + length > end:
            raise BadImage("truncated", f"the PNG ends after {end} bytes, within a chunk")
        payload = view[at + 8 : at + 8 + length]
        if zlib.crc32(view[at + 4 : at + 8 + length]) != int.from_bytes(
            view[at + 8 + length : at + 12 + length], "big"
        ):
            raise BadImage("corrupt", f"the checksum of the PNG's chunk {name!r} at byte {at} does not match")
        yield name, payload
        if name == b"IEND":
            return
        at += 12 + length


def png_size(content: bytes) -> tuple[int, int, int, int]:
    """Return (width, height, bits, colour type) of a PNG."""
    if content[12:16] != b"IHDR":
        raise BadImage("truncated" if len(content) < 16 else "corrupt", "the PNG does not begin with its header")
    width, height, bits, colour = struct.unpack_from(">IIBB", content, 16)
    return width, height, bits, colour


def webp_size(content: bytes) -> tuple[int, int, bool]:
    """Return (width, height, whether there may be alpha or animation) of a WebP."""
    form = content[12:16]
    if form == b"VP8X":
        flags, width, height = struct.unpack_from("<I3s3s", content, 20)
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1, bool(flags & 0x12)
    if form == b"VP8L":
        (packed,) = struct.unpack_from("<I", content, 21)
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1, bool(packed >> 28 & 1)
    if form == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF, False
    raise BadImage("truncated" if len(form) < 4 else "corrupt", f"the WebP begins with a chunk {form!r}")


def webp_orientation(content: bytes) -> int:
    """Return the WebP's EXIF orientation; 1 if there is none."""
    at = 12
    while at + 8 <= len(content):
        (length,) = struct.unpack_from("<I", content, at + 4)
        if content[at : at + 4] == b"EXIF":
            return exif_orientation(content[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
    return 1


def npy_layout(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Return (shape, whether in Fortran order, dtype, offset of the values) of a ``.npy`` file."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except ValueError as error:
        reason = "truncated" if "EOF" in str(error) else "corrupt"
        raise BadImage(reason, f"the .npy header: {str(error).splitlines()[0]}") from None
    except Exception as error:  # the header is a Python literal with arbitrary content
        raise BadImage("corrupt", f"the .npy header: {type(error).__name__}") from None
    return shape, fortran, dtype, file.tell()


def npy_header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Return the same as ``npy_layout``, for a uint8 image."""
    shape, fortran, dtype, start = npy_layout(content)
    if dtype != np.uint8:
        raise BadImage("unsupported", f"a .npy of {dtype}, uint8 expected")
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise BadImage("channels", f"a .npy of shape {shape}, (H, W), (H, W, 1) or (H, W, 3) expected")
    return shape, fortran, dtype, start


def _jpeg(content: bytes) -> ImageInfo:
    for marker, payload in jpeg_segments(content):
        if marker in _FRAMES:
            bits, height, width, components = struct.unpack_from(">BHHB", payload)
            orientation = jpeg_orientation(content)
            plain = marker in _COMMON_FRAMES and components in (1, 3) and orientation == 1
            channels = 1 if components == 1 else 3
            return ImageInfo("jpeg", *upright(width, height, orientation), channels, bits, plain, orientation)
    raise BadImage("corrupt", "the JPEG has no frame header")


def _png(content: bytes) -> ImageInfo:
    width, height, bits, colour = png_size(content)
    check_size(width, height)  # before the loop over possibly many chunks
    orientation, grey, plain = 1, colour in (0, 4), colour in (0, 2)
    for name, payload in png_chunks(content):
        if name == b"eXIf":
            orientation = exif_orientation(bytes(payload))
        elif name == b"PLTE" and colour == 3:
            palette = np.frombuffer(payload[: len(payload) // 3 * 3], np.uint8).reshape(-1, 3)
            grey = bool((palette == palette[:, :1]).all())
        plain = plain and name not in (b"tRNS", b"acTL")
    plain = plain and orientation == 1
    return ImageInfo("png", *upright(width, height, orientation), 1 if grey else 3, bits, plain, orientation)


def _webp(content: bytes) -> ImageInfo:
    width, height, layered = webp_size(content)
    orientation = webp_orientation(content)
    plain = not layered and orientation == 1
    return ImageInfo("webp", *upright(width, height, orientation), 3, 8, plain, orientation)


def _npy(content: bytes) -> ImageInfo:
    shape, _, _, _ = npy_header(content)
    return ImageInfo("npy", shape[1], shape[0], shape[2] if len(shape) == 3 else 1, 8, True)


def _by_pillow(content: bytes) -> ImageInfo:
    kind = kind_of(content)
    image = open_with(PLUGINS[kind], content)
    orientation = exif_orientation(content) if kind == "tiff" else 1
    width, height = image.size  # Pillow has already turned a TIFF's, except in version 9
    if orientation >= 5 and isinstance(image, TiffImagePlugin.TiffImageFile) and width == image.tag_v2.get(256):
        width, height = height, width
    grey = image.mode in _GREY_MODES
    bits = 16 if image.mode.startswith("I;16") else 32 if image.mode in ("I", "F") else 1 if image.mode == "1" else 8
    plain = image.mode in ("L", "RGB") and orientation == 1 and "transparency" not in image.info
    return ImageInfo(kind, width, height, 1 if grey else 3, bits, plain, orientation)


def open_with(plugin: type[ImageFile.ImageFile], content: bytes) -> ImageFile.ImageFile:
    """Open an image with one of Pillow's plugins, or raise ``BadImage``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings about damaged files
            # Not Image.open: it tries every plugin, including Ghostscript's, and has its own limit.
            return plugin(io.BytesIO(content))
    except Exception as error:  # a parser may raise anything for malicious bytes; the job must continue
        early = "truncated" in str(error).lower() or "requires a buffer" in str(error)
        raise BadImage("truncated" if early else "corrupt", f"{type(error).__name__}: {error}") from None


_READERS = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "npy": _npy,
    "gif": _by_pillow,
    "bmp": _by_pillow,
    "tiff": _by_pillow,
}
