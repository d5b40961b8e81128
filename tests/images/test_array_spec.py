"""Arrays are looked at before they are stored."""

import numpy as np
import pytest

from convoy.images import REASONS, ArraySpec, BadImage, check_array


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_place(dtype, value):
    sample = np.zeros((4, 3), dtype)
    sample[2, 1] = sample[3, 0] = value
    with pytest.raises(BadImage) as caught:
        check_array(sample, ArraySpec((4, 3), dtype))
    assert caught.value.reason == "not_finite"
    assert caught.value.reason in REASONS
    assert caught.value.detail == f"{value} at (2, 1), 2 of 12 values"


@pytest.mark.parametrize("value", [1e39, -1e300])
def test_what_a_network_cannot_hold_is_refused(value):
    with pytest.raises(BadImage, match="not_finite"):
        check_array(np.full((1, 1), value), ArraySpec((1, 1), "float64"))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "uint64", "float16", "float32"])
def test_the_extremes_of_a_type_are_returned_as_they_are(dtype):
    kind = np.dtype(dtype)
    limits = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind) if kind.kind in "iu" else None
    sample = np.array([[limits.min, limits.max]] if limits else [[False, True]], kind)
    assert check_array(sample, ArraySpec((1, 2), dtype)) is sample


@pytest.mark.parametrize(
    ("shape", "dtype"), [((2, 1), "uint8"), ((1, 2), "int8"), ((1, 2, 1), "uint8"), ((2,), "uint8")]
)
def test_another_shape_or_type_is_refused(shape, dtype):
    with pytest.raises(BadImage, match=r"size: .*, uint8 \(1, 2\) expected"):
        check_array(np.zeros(shape, dtype), ArraySpec((1, 2), "uint8"))
