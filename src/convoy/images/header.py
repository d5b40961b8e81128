"""Reading of image headers without decoding pixels. The type is detected from the content."""

import functools
import importlib
import io
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile, features

from convoy.images import dicom, jpeg, png, tiff
from convoy.images.bad_image import BadImage, first_line
from convoy.images.geometry import channels_last
from convoy.images.orientation import orientation_of, upright
from convoy.images.quiet import quiet
from convoy.images.recognise import kind_of

MAX_PIXELS = 100_000_000
"""Larger images are rejected by their header, before memory is allocated for them."""

_PLUGINS = {
    "webp": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "gif": ("PIL.GifImagePlugin", "GifImageFile"),
    "bmp": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "tiff": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "ppm": ("PIL.PpmImagePlugin", "PpmImageFile"),
    "ico": ("PIL.IcoImagePlugin", "IcoImageFile"),
    "tga": ("PIL.TgaImagePlugin", "TgaImageFile"),
    "jp2": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "avif": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "heic": ("pillow_heif", "HeifImageFile"),
}
_NEEDS = {
    "jp2": ("JPEG 2000", "a Pillow that is built with OpenJPEG, as those of PyPI are"),
    "avif": ("AVIF", "Pillow 11.3 or newer: pip install 'pillow>=11.3'"),
    "heic": ("HEIC", "pillow-heif: pip install 'convoy-ml[heic]' on the driver and the workers"),
}
_FEATURES = {"jp2": "jpg_2000", "avif": "avif"}
_GREY_MODES = ("1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L")


@dataclass(frozen=True)
class ImageInfo:
    """The content of an image's header.

    Attributes:
        kind: As ``recognise.kind_of`` returns it.
        width: Width in pixels, after EXIF orientation.
        height: Height in pixels, after EXIF orientation.
        channels: 1 if the image is grey, else 3.
        bits: Bits per value, as stored (with a palette: per index).
        plain: Whether pixels are stored upright, opaque, and as grey or colour values, so that all decoders return
            equal pixels.
        orientation: EXIF orientation, 1 (upright) to 8.
    """

    kind: str
    width: int
    height: int
    channels: int
    bits: int
    plain: bool
    orientation: int = 1


def identify(content: bytes) -> ImageInfo:
    """Describe an image from its header; no pixel is decoded.

    Args:
        content: The encoded file.

    Raises:
        BadImage: ``empty``, ``not_an_image``, ``truncated``, ``corrupt``, ``unsupported`` or ``too_large``.
    """
    kind = kind_of(content)
    try:
        info = _READERS.get(kind, _by_pillow)(content)
    except (struct.error, IndexError, EOFError) as error:
        raise BadImage("truncated", f"the {kind} header ends early ({error})") from None
    except BadImage:
        raise
    except Exception as error:  # a parser may raise anything for malicious bytes; the job must continue
        raise BadImage("corrupt", f"the {kind} header: {first_line(error)}") from None
    check_size(info.width, info.height)
    return info


def check_size(width: int, height: int) -> None:
    """Raise ``BadImage`` (``too_large`` or ``empty``) for a size that is not decoded."""
    if width < 1 or height < 1:
        raise BadImage("empty", f"{width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise BadImage("too_large", f"{width}x{height} pixels, at most {MAX_PIXELS:,} are decoded")


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
    """Return the WebP's orientation, from EXIF or XMP; 1 if there is none."""
    at, exif, xmp = 12, b"", b""
    while at + 8 <= len(content):
        (length,) = struct.unpack_from("<I", content, at + 4)
        if content[at : at + 4] == b"EXIF":
            exif = content[at + 8 : at + 8 + length]
        elif content[at : at + 4] == b"XMP ":
            xmp = content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return orientation_of(exif, xmp) if exif or xmp else 1


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
    """Return the same as ``npy_layout``, for an image of integers or floats."""
    shape, fortran, dtype, start = npy_layout(content)
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise BadImage("unsupported", f"a .npy of {dtype}, integers or floats expected")
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        expected = "(H, W), (H, W, 1) or (H, W, 3) expected"
        if (last := channels_last(shape)) is not None:
            raise BadImage("channels", f"a .npy of shape {shape}, channels first; {expected}: save it by {last}")
        raise BadImage("channels", f"a .npy of shape {shape}, {expected}; other arrays need source.kind arrays")
    return shape, fortran, dtype, start


def _jpeg(content: bytes) -> ImageInfo:
    marker, bits, height, width, components, repaired = jpeg.frame_of(content)
    orientation = jpeg.jpeg_orientation(content)
    plain = marker in jpeg.COMMON_FRAMES and components in (1, 3) and orientation == 1 and not repaired
    channels = 1 if components == 1 else 3
    return ImageInfo("jpeg", *upright(width, height, orientation), channels, bits, plain, orientation)


def _png(content: bytes) -> ImageInfo:
    width, height, bits, colour = png.size_of(content)
    check_size(width, height)  # before the loop over possibly many chunks
    found = png.read_chunks(content)
    grey, plain = colour in (0, 4), colour in (0, 2)
    if found.palette is not None and colour == 3:
        palette = np.frombuffer(found.palette[: len(found.palette) // 3 * 3], np.uint8).reshape(-1, 3)
        grey = bool((palette == palette[:, :1]).all())
    plain = plain and not found.names & {b"tRNS", b"acTL"} and found.orientation == 1 and not found.damaged
    orientation = found.orientation
    return ImageInfo("png", *upright(width, height, orientation), 1 if grey else 3, bits, plain, orientation)


def _webp(content: bytes) -> ImageInfo:
    width, height, layered = webp_size(content)
    orientation = webp_orientation(content)
    plain = not layered and orientation == 1
    return ImageInfo("webp", *upright(width, height, orientation), 3, 8, plain, orientation)


def _npy(content: bytes) -> ImageInfo:
    shape, _, dtype, _ = npy_header(content)
    channels = shape[2] if len(shape) == 3 else 1
    return ImageInfo("npy", shape[1], shape[0], channels, 8 * dtype.itemsize, dtype == np.uint8)


@quiet()
def _dicom(content: bytes) -> ImageInfo:
    found = dicom.open_dicom(content)
    channels = 3 if int(found.get("SamplesPerPixel", 1)) == 3 else 1
    return ImageInfo("dicom", int(found.Columns), int(found.Rows), channels, int(found.get("BitsStored", 8)), False)


def _by_pillow(content: bytes) -> ImageInfo:
    kind = kind_of(content)
    with quiet():
        image = open_with(kind, content)
        orientation = opened_orientation(kind, image, content)
        width, height = upright_size(kind, image, orientation)
    grey = image.mode in _GREY_MODES
    bits = 16 if image.mode.startswith("I;16") else 32 if image.mode in ("I", "F") else 1 if image.mode == "1" else 8
    plain = image.mode in ("L", "RGB") and orientation == 1 and "transparency" not in image.info
    return ImageInfo(kind, width, height, 1 if grey else 3, bits, plain, orientation)


def opened_orientation(kind: str, image: ImageFile.ImageFile, content: bytes) -> int:
    """Return the orientation of an image that Pillow has opened."""
    if kind == "tiff":
        return tiff.orientation_of(image)
    if kind == "webp":
        return webp_orientation(content)
    if kind == "avif":
        xmp = image.info.get("xmp", b"")
        return orientation_of(image.info.get("exif") or b"", xmp if isinstance(xmp, bytes) else b"")
    return 1  # HEIC is turned upright as it is decoded; the other formats have no orientation


def upright_size(kind: str, image: ImageFile.ImageFile, orientation: int) -> tuple[int, int]:
    """Return (width, height) of an opened image after it is turned upright; Pillow turns TIFFs, except in version 9."""
    width, height = image.size
    turned = kind == "tiff" and width != image.tag_v2.get(256)  # type: ignore[attr-defined]
    return (height, width) if orientation >= 5 and not turned else (width, height)


@functools.cache
def _plugin(kind: str) -> type[ImageFile.ImageFile]:
    module, name = _PLUGINS[kind]
    try:
        found: type[ImageFile.ImageFile] = getattr(importlib.import_module(module), name)
        if kind in _FEATURES and not features.check(_FEATURES[kind]):
            raise ImportError(name)
    except (ImportError, AttributeError):
        form, needed = _NEEDS[kind]
        raise BadImage("unsupported", f"{form}, which needs {needed}") from None
    if kind == "tiff":
        tiff.silence()
    return found


def open_with(kind: str, content: bytes) -> ImageFile.ImageFile:
    """Open an image with one of Pillow's plugins and check its size, or raise ``BadImage``."""
    if kind == "webp":
        check_size(*webp_size(content)[:2])  # libwebp reserves memory when a file is opened
    elif kind == "ico":
        _check_icons(content)
    return open_by(_plugin(kind), kind, content)


def open_by(plugin: type[ImageFile.ImageFile], kind: str, content: bytes) -> ImageFile.ImageFile:
    """Open an image with this plugin and check its size, or raise ``BadImage``."""
    try:
        with quiet():
            # Not Image.open: it tries every plugin, including Ghostscript's, and has its own limit.
            image = plugin(io.BytesIO(content))
    except Image.DecompressionBombError as error:  # some plugins check a frame's size as they open the file
        raise BadImage("too_large", first_line(error)) from None
    except Exception as error:  # a parser may raise anything for malicious bytes; the job must continue
        text = str(error)
        if kind == "tiff" and isinstance(error, SyntaxError) and (layout := tiff.unknown_layout(content)):
            raise BadImage("unsupported", layout) from None
        early = "truncated" in text.lower() or "requires a buffer" in text
        raise BadImage("truncated" if early else "corrupt", f"{type(error).__name__}: {first_line(error)}") from None
    check_size(*image.size)
    if kind == "tiff":
        tiff.fix_planes(image)
    return image


def _check_icons(content: bytes) -> None:
    """Check the sizes of an icon's images: the directory has one byte for each, and a PNG may be larger."""
    (count,) = struct.unpack_from("<H", content, 4)
    for i in range(count):
        (at,) = struct.unpack_from("<I", content, 6 + 16 * i + 12)
        if content[at : at + 8] == b"\x89PNG\r\n\x1a\n":
            check_size(*png.size_of(content[at : at + 26])[:2])
        elif at + 12 <= len(content):
            width, height = struct.unpack_from("<ii", content, at + 4)
            check_size(abs(width), abs(height))


_READERS = {"jpeg": _jpeg, "png": _png, "webp": _webp, "npy": _npy, "dicom": _dicom}
