"""Conversion of values of more than 8 bits to 0 to 255: which range of values becomes black to white. Pure.

The range is a function of the file or of the whole dataset, never of a batch, and is stored with the geometry. So an
image has the same pixels in training and in scoring.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from convoy.images.bad_image import BadImage

Range = tuple[float, float]
Rule = Literal["auto", "dtype", "given"]

_FULL = (0.0, 65535.0)
_SENSOR_BITS = 14
"""Most bits of a sensor whose values are stored in 16: more are taken for the whole type."""
_USUAL_FLOATS = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))


@dataclass(frozen=True)
class ValueRange:
    """Rule for values of more than 8 bits; 8-bit values are unchanged.

    Attributes:
        rule: ``auto``: the range that the file states, else that of the dataset; ``dtype``: the range of the type
            (floats: 0 to 1); ``given``: one range for all files.
        integers: (low, high) of the dataset's integers, or the given range. None: 0 to 65535 for unsigned 16-bit
            integers, whose upper 8 bits are kept; others are refused, unless the rule is ``dtype``.
        floats: The same for floats. None: floats are refused, unless the rule is ``dtype``.
    """

    rule: Rule = "auto"
    integers: Range | None = None
    floats: Range | None = None

    @classmethod
    def from_setting(cls, setting: Any) -> "ValueRange":
        """Return the rule for ``auto``, ``dtype`` or [low, high]."""
        if isinstance(setting, str):
            return cls("dtype" if setting == "dtype" else "auto")
        low, high = (float(value) for value in setting)
        return cls("given", (low, high), (low, high))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ValueRange":
        """Return the result of ``dataclasses.asdict``, also after a way through JSON."""
        ranges = {name: tuple(map(float, values[name])) for name in ("integers", "floats") if values.get(name)}
        return cls(values.get("rule", "auto"), **ranges)  # type: ignore[arg-type]

    def __str__(self) -> str:
        if self.rule == "dtype":
            return "of each type"
        if self.rule == "given" and self.integers:
            return f"{self.integers[0]:g} to {self.integers[1]:g}"
        ranges = {"integers": self.integers, "floats": self.floats}
        found = [f"{name} {ends[0]:g} to {ends[1]:g}" for name, ends in ranges.items() if ends]
        return ", ".join(["as each file states", *(f"else {text}" for text in found)])

    def keeps_high_byte(self) -> bool:
        """Return whether unsigned 16-bit values that state no range of their own keep their upper 8 bits."""
        return self.rule == "dtype" or (self.integers or _FULL) == _FULL


@dataclass(frozen=True)
class DeepPixels:
    """Values of more than 8 bits.

    Attributes:
        values: Integers or floats, (H, W) or (H, W, 3).
        of_type: Range of the values that the type can hold; of floats, 0 to 1.
        declared: Range of the values that the file states; None if it does not.
        opacity: uint8 (H, W) or (H, W, 1), 255 for opaque; None if all pixels are.
        inverted: Whether small values are bright.
    """

    values: np.ndarray
    of_type: Range
    declared: Range | None = None
    opacity: np.ndarray | None = None
    inverted: bool = False


def eight_bits(pixels: DeepPixels, value_range: ValueRange) -> np.ndarray:
    """Scale values to uint8; those outside of the range become 0 or 255.

    Returns:
        uint8, of the shape of the values: of 0 to 65535 the upper 8 bits, else rounded to the nearest.

    Raises:
        BadImage: ``unsupported``: the range of the values is unknown; ``not_finite``.
    """
    values = pixels.values
    check_finite(values)
    low, high = range_of(pixels, value_range)
    if (low, high) == _FULL and values.dtype.kind in "iu":
        scaled = (np.clip(values, 0, 65535) >> 8).astype(np.uint8)
    else:
        kind = np.float32 if values.dtype.itemsize <= 2 else np.float64
        share = (np.clip(values, low, high).astype(kind) - low) * kind(255 / (high - low))
        scaled = np.rint(share).astype(np.uint8)
    if pixels.inverted:
        scaled = 255 - scaled
    if pixels.opacity is None:
        return scaled
    opacity = pixels.opacity.reshape(*pixels.opacity.shape[:2], *(1,) * (values.ndim - 2))
    return ((scaled.astype(np.uint16) * opacity + 127) // 255).astype(np.uint8)


def check_finite(values: np.ndarray) -> None:
    """Raise ``BadImage`` (``not_finite``) if there is NaN or infinity."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int(values.size - np.isfinite(values).sum())
        raise BadImage("not_finite", f"NaN or infinity in {bad:,} of {values.size:,} values")


def range_of(pixels: DeepPixels, value_range: ValueRange) -> Range:
    """Return the (low, high) that become 0 and 255."""
    if value_range.rule == "dtype":
        return pixels.of_type
    floats = pixels.values.dtype.kind == "f"
    common = value_range.floats if floats else value_range.integers
    chosen = common if value_range.rule == "given" else pixels.declared or common
    if chosen is None and pixels.of_type == _FULL:
        chosen = _FULL
    if chosen is None:
        what = "floating-point values" if floats else f"{pixels.values.dtype} values"
        raise BadImage(
            "unsupported", f"{what}, whose range is unknown; it is set by dataset.image.value_range at the ingest"
        )
    return chosen


def range_of_dataset(kind: str, low: float, high: float) -> tuple[Range, str]:
    """Return the range for values of a dataset, and the rule that gives it.

    Args:
        kind: ``integers`` or ``floats``.
        low: Smallest value of all images that do not state a range.
        high: Largest value.
    """
    if kind == "integers" and low >= 0:
        bits = max(8, int(high).bit_length())
        bits = 16 if _SENSOR_BITS < bits <= 16 else bits
        return (0.0, float((1 << bits) - 1)), f"{bits} bits hold all values"
    if kind == "floats":
        for start, end in _USUAL_FLOATS:
            if start <= low and high <= end and high - low >= (end - start) / 2:
                return (start, end), "a usual range that holds all values"
    return (low, high if high > low else low + 1), "from the smallest to the largest value"
