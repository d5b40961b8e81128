"""Samples that are no images but arrays: stored as they are, once they have been looked at."""

import numpy as np

from convoy.images.errors import BadImage
from convoy.images.geometry import ArraySpec

_LARGEST = float(np.finfo(np.float32).max)


def check_array(sample: np.ndarray, spec: ArraySpec) -> np.ndarray:
    """Return a sample as it is, if it has the expected shape and type and a network can compute with its values.

    Raises:
        BadImage: ``size`` for another shape or type; ``not_finite`` for NaN, infinity, or a float64 that a float32, in
            which networks compute, cannot hold.
    """
    if sample.shape != spec.shape or sample.dtype != np.dtype(spec.dtype):
        raise BadImage("size", f"{ArraySpec(sample.shape, sample.dtype.name)}, {spec} expected")
    if sample.dtype.kind == "f":
        bad = ~np.isfinite(sample)
        if sample.dtype.itemsize > 4:
            bad |= np.abs(sample) > _LARGEST
        if bad.any():
            where = tuple(int(index) for index in np.unravel_index(int(bad.argmax()), sample.shape))
            raise BadImage("not_finite", f"{sample[where]} at {where}, {int(bad.sum()):,} of {sample.size:,} values")
    return sample
