"""Samples that are arrays instead of images: checked, and stored unchanged."""

import math

import numpy as np

from convoy.images import header
from convoy.images.bad_image import BadImage
from convoy.images.geometry import ArraySpec
from convoy.images.recognise import kind_of

_LARGEST = float(np.finfo(np.float32).max)


def read_array(content: bytes) -> np.ndarray:
    """Return the array of a ``.npy`` file; one of shape (length,) gets an axis of one channel.

    Raises:
        BadImage: ``empty``, ``not_an_image``, ``corrupt``, ``truncated``, or ``unsupported`` for pickled objects.
    """
    if kind_of(content) != "npy":
        raise BadImage("not_an_image", "not a .npy file")
    shape, fortran, dtype, start = header.npy_layout(content)
    if dtype.hasobject:
        raise BadImage("unsupported", "a .npy of pickled objects")
    count = math.prod(shape)
    if len(content) < start + count * dtype.itemsize:
        raise BadImage(
            "truncated", f"the npy has {len(content) - start} bytes of values, {count * dtype.itemsize} expected"
        )
    values = np.frombuffer(content, dtype, count, start).reshape(shape, order="F" if fortran else "C")
    values = values.astype(dtype.newbyteorder("="), copy=False)
    return values[:, None] if values.ndim == 1 else values


def transposition(shape: tuple[int, ...], spec: ArraySpec) -> str:
    """Return a hint for samples whose channels are first, with the transposition to type; empty for other shapes."""
    first = len(shape) > 2 and shape[:1] == spec.shape[-1:] and shape[1:] == spec.shape[:-1]
    return f"; the channels are first: transpose{(*range(1, len(shape)), 0)}" if first and shape != spec.shape else ""


def check_array(sample: np.ndarray, spec: ArraySpec) -> np.ndarray:
    """Return a sample unchanged, if it has the expected shape and type and values that are finite in float32.

    Raises:
        BadImage: ``size`` for another shape or type; ``not_finite`` for NaN, infinity, or a float64 outside the range
            of float32, in which networks compute.
    """
    if sample.shape != spec.shape or sample.dtype != np.dtype(spec.dtype):
        given = ArraySpec(sample.shape, sample.dtype.name)
        raise BadImage("size", f"{given}, {spec} expected{transposition(sample.shape, spec)}")
    if sample.dtype.kind == "f":
        bad = ~np.isfinite(sample)
        if sample.dtype.itemsize > 4:
            bad |= np.abs(sample) > _LARGEST
        if bad.any():
            where = tuple(int(index) for index in np.unravel_index(int(np.argmax(bad)), sample.shape))
            raise BadImage("not_finite", f"{sample[where]} at {where}, {int(bad.sum()):,} of {sample.size:,} values")
    return sample
