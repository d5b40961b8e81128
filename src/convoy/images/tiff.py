"""TIFF files: pages with 8 bits as Pillow reads them, and the values of pages with more."""

import contextlib
import ctypes
import functools
import io
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from convoy.images.bad_image import BadImage
from convoy.images.orientation import xmp_orientation
from convoy.images.quiet import quiet
from convoy.images.value_range import DeepPixels, Range

_ORIENTATION, _XMP = 274, 700
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANES, _EXTRA, _FORMAT = 258, 262, 277, 284, 338, 339
_MIN, _MAX, _SIGNED_MIN, _SIGNED_MAX, _NO_DATA = 280, 281, 340, 341, 42113
_PLANAR = "a compressed TIFF of 16-bit colours in separate planes; save it with interleaved colours"
_FORMATS = {1: "unsigned integers", 2: "signed integers", 3: "floats", 5: "complex integers", 6: "complex floats"}
_NATIVE = {"I;16S": "I;16NS", "I;32S": "I;32NS", "F;32F": "F;32NF"}
_NATIVE |= {raw[:-1] + "B" + raw[-1]: native for raw, native in _NATIVE.items()}
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N", "I;16S", "I;16BS", "I;32")


@functools.cache
def silence() -> None:
    """Keep libtiff, and Pillow's logger, from printing to the console what Pillow also raises as an exception."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints what nobody handles
    with contextlib.suppress(OSError, AttributeError):  # another build of Pillow
        library = ctypes.CDLL(Image.core.__file__)
        library.TIFFSetErrorHandler.argtypes = library.TIFFSetWarningHandler.argtypes = [ctypes.c_void_p]
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


def unknown_layout(content: bytes) -> str | None:
    """Describe a TIFF that Pillow has no mode for, e.g. of 13 bands; None if the tags cannot be read."""
    tags = _tags(content)
    if tags is None:
        return None
    try:
        bits = tuple(tags.get(_BITS) or (1,))
        samples = int(tags.get(_SAMPLES) or len(bits))
        formats = tuple(tags.get(_FORMAT) or (1,))
    except (TypeError, ValueError):
        return None
    numbers = f"{max(bits)}-bit {_FORMATS.get(formats[0], 'values')}"
    if samples > 1:
        return (
            f"a TIFF of {samples} bands of {numbers}; images have one band or red, green and blue: for more, save"
            " arrays (N, height, width, bands), e.g. with rasterio or tifffile, and use source.kind arrays"
        )
    return f"a TIFF of {numbers}; save it with 8 or 16 bits, or as arrays (source.kind arrays)"


def _tags(content: bytes) -> Any:
    file = io.BytesIO(content)
    try:
        with quiet():
            tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
            file.seek(tags.next)
            tags.load(file)
        return tags
    except Exception:  # a parser may raise anything for malicious bytes
        return None


def bits_of(image: ImageFile.ImageFile) -> int:
    """Return the bits of a value."""
    bits = image.tag_v2.get(_BITS)  # type: ignore[attr-defined]
    return max(bits) if isinstance(bits, tuple) and bits else 1


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Return whether an opened TIFF has values of more than 8 bits, or signed ones."""
    return image.mode in _DEEP_MODES or bits_of(image) > 8 or (image.mode == "L" and _format_of(image) == 2)


def _format_of(image: ImageFile.ImageFile) -> int:
    """Return the tag SampleFormat: a key of ``_FORMATS``."""
    found = image.tag_v2.get(_FORMAT)  # type: ignore[attr-defined]
    return found[0] if isinstance(found, tuple) and found else 1


def orientation_of(image: Any) -> int:
    """Return the orientation of an opened TIFF, from its tag or its XMP packet, 1 to 8."""
    tag, xmp = image.tag_v2.get(_ORIENTATION), image.tag_v2.get(_XMP)
    if tag is not None:
        return tag if isinstance(tag, int) and 1 <= tag <= 8 else 1
    return xmp_orientation(xmp) if isinstance(xmp, bytes) else 1


def is_turned_by_pillow(image: Any) -> bool:
    """Return whether Pillow turns an opened TIFF upright as it is loaded; after this call it does so only by its tag.

    Newer versions of Pillow would also turn it by its XMP packet.
    """
    if _ORIENTATION in image.tag_v2:
        return True
    image.tag_v2.pop(_XMP, None)
    image.info.pop("xmp", None)
    return False


def fix_byte_order(image: Any) -> None:
    """Correct how Pillow reads compressed signed integers and floats: libtiff returns them in this machine's order."""
    if image.tile and image.tile[0][0] == "libtiff":
        _change_raw_modes(image, lambda raw: _NATIVE.get(raw, raw))


def fix_planes(image: Any) -> None:
    """Correct how Pillow reads uncompressed 16-bit planes of an opened TIFF: as if their values had 8 bits."""
    if image.tag_v2.get(_PLANES) == 2 and bits_of(image) == 16:
        order = "L" if image.tag_v2.prefix == b"II" else "B"
        _change_raw_modes(image, lambda raw: f"{raw};16{order}" if len(raw) == 1 else raw)


def _change_raw_modes(image: Any, change: Callable[[str], str]) -> None:
    """Replace Pillow's names of the layout of the stored values."""
    tiles = []
    for tile in image.tile:
        codec, box, offset, arguments = tile
        raw = arguments if isinstance(arguments, str) else arguments[0]
        arguments = change(raw) if isinstance(arguments, str) else (change(raw), *arguments[1:])
        # Old versions of Pillow have plain tuples.
        tiles.append(tile._replace(args=arguments) if hasattr(tile, "_replace") else (codec, box, offset, arguments))
    image.tile = tiles


def notes_of(image: ImageFile.ImageFile) -> list[str]:
    """Return notes on bands that are not used."""
    extra = image.tag_v2.get(_EXTRA) or ()  # type: ignore[attr-defined]
    extra = extra if isinstance(extra, tuple) else (extra,)
    photometric = image.tag_v2.get(_PHOTOMETRIC)  # type: ignore[attr-defined]
    return ["bands_unused"] if photometric in (1, 2) and 0 in extra else []


def declared_range(tags: Any, signed: bool, floats: bool) -> Range | None:
    """Return the range that the tags state: SMinSampleValue and SMaxSampleValue, BitsPerSample, or MaxSampleValue.

    Args:
        tags: Tags of the page.
        signed: Whether the values are signed integers.
        floats: Whether they are floats.
    """
    low, high = (_number(tags.get(tag)) for tag in (_SIGNED_MIN, _SIGNED_MAX))
    if high is not None and (low is not None or not (signed or floats)):
        low = low or 0.0
        if low < high:
            return low, high
    if signed or floats:
        return None
    bits = tags.get(_BITS)
    bits = max(bits) if isinstance(bits, tuple) and bits else 16
    if 8 < bits < 16:
        return 0.0, float((1 << bits) - 1)
    # The largest value of this image: rounded up to whole bits, so that images are not stretched one by one.
    largest = _number(tags.get(_MAX))
    if largest and 255 < largest < (1 << bits) - 1:
        return 0.0, float((1 << int(largest).bit_length()) - 1)
    return None


def _number(value: Any) -> float | None:
    try:
        value = max(value) if isinstance(value, tuple) else value
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def deep_pixels(image: ImageFile.ImageFile, content: bytes) -> DeepPixels:
    """Return the values of an opened TIFF, upright.

    Args:
        image: The opened file, for which ``is_deep`` holds.
        content: The file.
    """
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    numbers, bits = _format_of(image), bits_of(image)
    fix_byte_order(image)
    if image.mode == "L":
        image.load()
        values, opacity = np.asarray(image).view(np.int8), None
    elif image.mode in _DEEP_MODES:
        image.load()
        values, opacity = np.asarray(image), None
        if values.dtype.kind == "i" and numbers == 1 and bits == 32:
            values = values.view(np.uint32)  # Pillow has no unsigned 32-bit integers
        elif values.dtype.kind == "i" and numbers == 1:
            values = values.astype(np.uint16)
        elif values.dtype.kind == "i" and bits == 16:
            values = values.astype(np.int16)
        elif values.dtype.kind == "u":
            values = values.astype(np.uint16)  # in this machine's byte order
    else:
        values, opacity = _colours(image, content)
    no_data = _number_of_text(tags.get(_NO_DATA))
    if no_data is not None and values.ndim == 2:
        # Pixels without data are black, and do not count for the range.
        missing = np.isnan(values) if np.isnan(no_data) else values == np.float32(no_data)
        if missing.any() and not missing.all():
            values = np.where(missing, values[~missing].min(), values)
            opacity = np.where(missing, 0, 255).astype(np.uint8)
    kind = values.dtype.kind
    limits = (0.0, 1.0) if kind == "f" else (float(np.iinfo(values.dtype).min), float(np.iinfo(values.dtype).max))
    # Pillow inverts 8-bit grey of which 0 is white, but no other.
    inverted = values.ndim == 2 and tags.get(_PHOTOMETRIC) == 0
    return DeepPixels(values, limits, declared_range(tags, kind == "i", kind == "f"), opacity, inverted)


def _number_of_text(value: Any) -> float | None:
    try:
        return None if value is None else float(str(value).strip(" \0"))
    except ValueError:
        return None


def _has_compressed_planes(image: Any) -> bool:
    return image.tag_v2.get(_PLANES) == 2 and bool(image.tile) and image.tile[0][0] != "raw"


def has_unknown_range(image: Any) -> bool:
    """Return whether an opened TIFF has 16-bit colours of which only the upper bytes can be read."""
    return bits_of(image) > 8 and _has_compressed_planes(image)


def check_upper_bytes(pixels: np.ndarray) -> None:
    """Raise ``BadImage`` (``unsupported``) if the upper bytes of 16-bit colours lack the bits of a whole range."""
    if pixels.max(initial=0) < 1 << 14 - 8:
        raise BadImage("unsupported", _PLANAR)


def _colours(image: ImageFile.ImageFile, content: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Return 16-bit colours, uint16 (H, W, 3), and their opacity, of which Pillow returns the upper bytes only.

    Pillow decodes the file a second time with the order of bytes reversed, which returns the lower bytes.
    """
    second: Any = TiffImagePlugin.TiffImageFile(io.BytesIO(content))
    if _has_compressed_planes(second):
        raise BadImage("unsupported", _PLANAR)
    is_turned_by_pillow(second)
    fix_planes(second)
    swapped = {"L": "B", "B": "L", "N": "B" if np.little_endian else "L"}

    def lower(raw: str) -> str:
        if raw[-3:] not in ("16L", "16B", "16N"):
            raise BadImage("unsupported", f"a TIFF of 16-bit values in an unusual layout ({raw})")
        return raw[:-1] + swapped[raw[-1]]

    _change_raw_modes(second, lower)
    image.load()
    second.load()
    high, low = np.asarray(image).astype(np.uint16), np.asarray(second)
    values = high << 8 | low
    if image.mode == "CMYK":
        key = 65535 - values[:, :, 3:].astype(np.uint32)
        values = ((65535 - values[:, :, :3].astype(np.uint32)) * key // 65535).astype(np.uint16)
        return values, None
    return values[:, :, :3], (high[:, :, 3].astype(np.uint8) if values.shape[2] == 4 else None)
