"""DICOM files, through pydicom, which is optional: ``pip install 'convoy-ml[dicom]'``."""

import io
from typing import Any

import numpy as np

from convoy.images.bad_image import BadImage, first_line
from convoy.images.quiet import quiet
from convoy.images.value_range import DeepPixels


@quiet()
def open_dicom(content: bytes) -> Any:
    """Return the data elements of a DICOM file; its pixels are not decoded.

    Raises:
        BadImage: ``unsupported``: pydicom is not installed, or there is no image; ``corrupt``; ``truncated``.
    """
    try:
        import pydicom
    except ImportError:
        raise BadImage(
            "unsupported",
            "a DICOM file, which needs pydicom: pip install 'convoy-ml[dicom]' on the driver and the workers",
        ) from None
    try:
        found = pydicom.dcmread(io.BytesIO(content))
        shape = int(found.Rows), int(found.Columns), int(found.get("SamplesPerPixel", 1))
    except AttributeError:
        raise BadImage("unsupported", "a DICOM file without an image") from None
    except Exception as error:  # a parser may raise anything for malicious bytes
        raise BadImage(_reason(error), f"the dicom: {first_line(error)}") from None
    if shape[2] not in (1, 3):
        raise BadImage("channels", f"a DICOM image of {shape[2]} samples per pixel, 1 or 3 expected")
    return found


@quiet()
def dicom_pixels(found: Any) -> np.ndarray | DeepPixels:
    """Return the pixels of the first frame: uint8 (H, W, 3) of colour images, else values after the modality's scaling.

    pydicom converts YCbCr to RGB.
    The range that a grey image declares is its window (the first one), else that of its stored bits.
    """
    from pydicom.pixels import apply_modality_lut, pixel_array

    space = str(found.get("PhotometricInterpretation", ""))
    try:
        values = pixel_array(found, index=0 if int(found.get("NumberOfFrames", 1) or 1) > 1 else None)
    except (RuntimeError, NotImplementedError) as error:  # a compression that needs another package
        raise BadImage("unsupported", f"the dicom: {first_line(error)}") from None
    except Exception as error:
        raise BadImage(_reason(error), f"the dicom: {first_line(error)}") from None
    if space == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        values = apply_color_lut(values, found)
    if values.ndim == 3:
        if values.dtype == np.uint8:
            return values
        bits = int(found.BitsStored) if space != "PALETTE COLOR" else 8 * values.dtype.itemsize
        return DeepPixels(values, (0.0, float((1 << bits) - 1)), (0.0, float((1 << bits) - 1)))
    scaled = np.asarray(apply_modality_lut(values, found))
    bits, signed = int(found.BitsStored), int(found.get("PixelRepresentation", 0)) == 1
    slope, shift = float(found.get("RescaleSlope", 1) or 1), float(found.get("RescaleIntercept", 0) or 0)
    stored = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    ends = sorted(end * slope + shift for end in stored)
    of_type = (float(ends[0]), float(ends[1]))
    if "ModalityLUTSequence" in found:
        of_type = (float(scaled.min()), float(max(scaled.max(), scaled.min() + 1)))
    declared = _window(found) or (of_type if not signed and not shift else None)
    if scaled.dtype.kind == "f" and (np.rint(scaled) == scaled).all():
        scaled = scaled.astype(np.int32)  # whole units, as Hounsfield's
    return DeepPixels(scaled, of_type, declared, inverted=space == "MONOCHROME1")


def _reason(error: Exception) -> str:
    text = str(error).lower()
    early = isinstance(error, EOFError) or "end of file" in text or "less than expected" in text
    return "truncated" if early else "corrupt"


def _window(found: Any) -> tuple[float, float] | None:
    """Return the range of the first window (DICOM PS3.3 C.11.2.1.2), or None."""
    ends = []
    for name in ("WindowCenter", "WindowWidth"):
        value = found.get(name)
        if value is None or value == "":
            return None
        ends.append(float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value))
    center, width = ends
    return (center - width / 2, center + width / 2) if width > 0 else None
