"""Values of more than 8 bits in files of any kind, and their extremes over a dataset."""

import cv2
import numpy as np
from PIL import ImageFile
from PIL.PngImagePlugin import PngImageFile

from convoy.images import dicom, header, png, tiff
from convoy.images.bad_image import BadImage
from convoy.images.quiet import quiet
from convoy.images.recognise import kind_of
from convoy.images.value_range import DeepPixels, ValueRange, check_finite

_FULL = (0.0, 65535.0)


def is_deep(kind: str, image: ImageFile.ImageFile, value_range: ValueRange) -> bool:
    """Return whether an opened image has to be scaled; colours whose upper 8 bits are kept are decoded by Pillow."""
    if kind != "tiff":
        return image.mode in ("I", "F") or image.mode.startswith("I;16")
    if image.mode in ("RGB", "RGBA", "CMYK"):
        declared = tiff.declared_range(image.tag_v2, False, False)  # type: ignore[attr-defined]
        return tiff.is_deep(image) and (not value_range.keeps_high_byte() or declared not in (None, _FULL))
    return tiff.is_deep(image)


def pillow_pixels(kind: str, image: ImageFile.ImageFile, content: bytes) -> DeepPixels:
    """Return the values of an image that Pillow has opened, for which ``is_deep`` holds."""
    if kind == "tiff":
        return tiff.deep_pixels(image, content)
    image.load()
    values = np.asarray(image)
    if image.mode == "F":
        return DeepPixels(values, (0.0, 1.0))
    # Pillow scales the values of PGM and JPEG 2000 to 16 bits.
    return DeepPixels(np.clip(values, 0, 65535).astype(np.uint16), _FULL, _FULL)


def png_pixels(content: bytes, found: png.Chunks) -> DeepPixels:
    """Return the values of a PNG of 16 bits, as they are stored.

    Encoders should scale values of fewer significant bits (``sBIT``) to 16 bits. Not all do: if the lower bits are not
    those that scaling gives, the values are taken for unscaled.
    """
    *_, colour = png.size_of(content)
    pixels = _grey(content, found) if colour == 0 else _colours(content)
    opacity = None
    if pixels.ndim == 3:
        opacity = (pixels[:, :, 3] >> 8).astype(np.uint8) if pixels.shape[2] == 4 else None
        pixels = pixels[:, :, 2::-1] if colour in (2, 6) else pixels[:, :, 0]
    if found.transparent is not None and colour in (0, 2):
        clear = np.frombuffer(found.transparent[: 2 if colour == 0 else 6], ">u2")
        same = pixels == clear if colour == 0 else (pixels == clear).all(axis=2)
        opacity = np.where(same, 0, 255).astype(np.uint8)
    declared = None
    if found.significant:
        bits = png.significant_bits(found.significant, colour)
        declared = _FULL if _is_scaled(pixels, bits) else (0.0, float((1 << bits) - 1))
    return DeepPixels(pixels, _FULL, declared, opacity)


def _grey(content: bytes, found: png.Chunks) -> np.ndarray:
    image = header.open_by(PngImageFile, "png", png.only_pixels(content) if found.damaged else content)
    image.load()
    return np.asarray(image).astype(np.uint16)  # some versions of Pillow have 32 bits


def _colours(content: bytes) -> np.ndarray:
    """Return uint16 (H, W, 3 | 4) in the order BGR, of which Pillow would return the upper bytes only."""
    pixels = cv2.imdecode(np.frombuffer(png.only_pixels(content, transparency=False), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise BadImage("corrupt", "the PNG's pixels cannot be decoded")
    return pixels


def _is_scaled(values: np.ndarray, bits: int) -> bool:
    """Return whether 16-bit values may have been scaled from fewer bits: by a shift, or with repeated bits."""
    if bits >= 16 or values.max(initial=0) >= 1 << bits:
        return True
    rest = values & ((1 << 16 - bits) - 1)
    return not rest.any() or (bits >= 8 and bool((rest == values >> bits).all()))


def npy_pixels(content: bytes) -> np.ndarray | DeepPixels:
    """Return the pixels of a ``.npy`` image: uint8 (H, W, 1 | 3), or values of another type."""
    shape, fortran, dtype, start = header.npy_header(content)
    header.check_size(shape[1], shape[0])
    count = shape[0] * shape[1] * (shape[2] if len(shape) == 3 else 1)
    if len(content) < start + count * dtype.itemsize:
        raise BadImage(
            "truncated", f"the npy has {len(content) - start} bytes of pixels, {count * dtype.itemsize} expected"
        )
    values = np.frombuffer(content, dtype, count, start).reshape(shape, order="F" if fortran else "C")
    values = np.ascontiguousarray(values.reshape(shape[0], shape[1], -1)).astype(dtype.newbyteorder("="), copy=False)
    if dtype == np.uint8:
        return values
    if dtype.kind == "f":
        return DeepPixels(values, (0.0, 1.0))
    return DeepPixels(values, (float(np.iinfo(values.dtype).min), float(np.iinfo(values.dtype).max)))


def extremes(content: bytes) -> tuple[str, float, float] | None:
    """Return the kind of an image's values and the smallest and largest one, if the file does not state their range.

    Args:
        content: The encoded file.

    Returns:
        (``integers`` | ``floats``, smallest, largest); None for files of 8 bits, files that state a range, and files
        that cannot be used.
    """
    try:
        pixels = _undeclared(content)
        if pixels is None or pixels.declared is not None or not pixels.values.size:
            return None
        check_finite(pixels.values)
    except Exception:  # the file is reported when it is decoded
        return None
    kind = "floats" if pixels.values.dtype.kind == "f" else "integers"
    values = (
        pixels.values if pixels.opacity is None else pixels.values[pixels.opacity.reshape(pixels.values.shape[:2]) > 0]
    )
    if not values.size:
        return None
    return kind, float(values.min()), float(values.max())


def _undeclared(content: bytes) -> DeepPixels | None:
    """Return the values of an image if they have more than 8 bits; headers alone decide about others."""
    if content.startswith((b"\xff\xd8\xff", b"GIF8", b"RIFF")) or (content[12:16] == b"IHDR" and content[24] != 16):
        return None
    kind = kind_of(content)
    if kind == "png":
        width, height, *_ = png.size_of(content)
        header.check_size(width, height)
        return png_pixels(content, png.read_chunks(content))
    if kind == "npy":
        pixels = npy_pixels(content)
        return pixels if isinstance(pixels, DeepPixels) else None
    if kind == "dicom":
        found = dicom.open_dicom(content)
        header.check_size(int(found.Columns), int(found.Rows))
        pixels = dicom.dicom_pixels(found)
        return pixels if isinstance(pixels, DeepPixels) else None
    if kind not in ("tiff", "ppm"):
        return None
    with quiet():
        image = header.open_with(kind, content)
        deep = tiff.is_deep(image) if kind == "tiff" else image.mode == "F"
        return pillow_pixels(kind, image, content) if deep else None
