"""Columns -> samples: the same pixels whatever form they come in, and a reason for each that cannot be used."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.dataset.storage import raw
from convoy.images import ArraySpec, Geometry, prepare
from convoy.inference.samples import Sampler, arrays
from tests.conftest import encoded, noise

GEOMETRY = Geometry(4, 3, 3, "stretch")


def sampled(kind, column, geometry=GEOMETRY, spec=None):
    with Sampler(kind, geometry, spec or geometry.spec, 2) as sampler:
        return sampler.start(column).wait()


def test_raw_values_are_viewed_where_they_lie():
    images = noise(5, 4, 3, 3)
    column = raw.encode(images)
    samples = sampled("bytes", column.slice(1, 3))
    assert (samples.images == images[1:4]).all()
    assert not samples.errors
    assert np.shares_memory(samples.images, np.frombuffer(column.buffers()[2], np.uint8))


def test_one_other_file_among_raw_values_is_decoded_and_the_others_stay_what_they_are():
    images = noise(3, 4, 3, 3)
    values = [*raw.encode(images).to_pylist(), encoded(noise(9, 7, 3))]
    samples = sampled("bytes", pa.array(values, pa.binary()))
    assert (samples.images[:3] == images).all()
    assert (samples.images[3] == prepare(values[3], GEOMETRY)).all()


def test_bad_values_have_a_reason_and_zero_pixels(tmp_path):
    good = encoded(noise(4, 3, 3))
    samples = sampled("bytes", pa.array([good, None, b"", b"no image", good[:40]], pa.binary()))
    assert {row: reason.split(":")[0] for row, reason in samples.errors.items()} == {
        **{1: "empty", 2: "empty"},
        **{3: "not_an_image", 4: "truncated"},
    }
    assert not samples.images[1:].any()
    (tmp_path / "a.png").write_bytes(good)
    paths = [str(tmp_path / "a.png"), None, str(tmp_path / "none"), str(tmp_path), "nul\0", f"file:{tmp_path}/a.png"]
    samples = sampled("path", pa.array(paths))
    assert set(samples.errors) == {1, 2, 3, 4}
    assert samples.errors[2] == "unreadable: No such file or directory"
    assert (samples.images[0] == samples.images[5]).all()
    assert samples.images[0].any()


NUMBERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64()]


@pytest.mark.parametrize("kind", NUMBERS, ids=str)
def test_arrays_flat_and_nested_are_the_samples_they_hold(kind):
    images = noise(4, 2, 3, 1) // 2  # fits into int8 too
    spec = ArraySpec((2, 3, 1), "uint8")
    for shape in ((4, 6), (4, 2, 3), (4, 2, 3, 1)):
        nested = pa.array(images.reshape(shape).tolist())
        column = nested.cast(list_of(kind, len(shape) - 1))
        samples = arrays(column.slice(1, 2), spec)
        assert not samples.errors
        assert (samples.images == images[1:3]).all()


def list_of(kind, depth):
    return pa.list_(list_of(kind, depth - 1)) if depth else kind


ROW = st.none() | st.lists(st.none() | st.integers(-3, 300), min_size=3, max_size=5)


@given(st.lists(ROW, max_size=12))
def test_of_flat_arrays_exactly_those_are_refused_that_do_not_fit(rows):
    samples = arrays(pa.array(rows, pa.list_(pa.int32())), ArraySpec((2, 2), "uint8"))
    for i, row in enumerate(rows):
        fits = row is not None and len(row) == 4 and all(v is not None and 0 <= v <= 255 for v in row)
        assert (i not in samples.errors) == fits
        assert samples.images[i].ravel().tolist() == (row if fits else [0] * 4)


@given(st.lists(st.none() | st.lists(st.none() | st.lists(st.integers(0, 9), max_size=3), max_size=3), max_size=8))
def test_of_nested_arrays_exactly_those_are_refused_that_do_not_fit(rows):
    samples = arrays(pa.array(rows, list_of(pa.int16(), 2)), ArraySpec((2, 2), "uint8"))
    for i, row in enumerate(rows):
        fits = row is not None and len(row) == 2 and all(line is not None and len(line) == 2 for line in row)
        assert (i not in samples.errors) == fits
        assert samples.images[i].tolist() == (row if fits else [[0, 0], [0, 0]])


def test_numbers_that_a_network_cannot_take_are_refused():
    spec = ArraySpec((2,), "float32")
    rows = [[1.5, 2.0], [np.nan, 0.0], [1e300, 0.0], [-np.inf, 1.0]]
    samples = arrays(pa.array(rows), spec)
    assert {row: reason.split(":")[0] for row, reason in samples.errors.items()} == dict.fromkeys(
        (1, 2, 3), "not_finite"
    )
    assert samples.images.tolist() == [[1.5, 2.0], [0, 0], [0, 0], [0, 0]]
    assert set(arrays(pa.array([[0.5, 1.0], [3.0, 4.0]]), ArraySpec((2,), "uint8")).errors) == {0}
    stored = raw.encode(np.array([[1, 2], [np.nan, 3]], np.float32))
    assert set(sampled("bytes", stored, None, spec).errors) == {1}
    other = raw.encode(np.zeros((1, 3), np.float32)).to_pylist()
    assert set(sampled("bytes", pa.array([*stored.to_pylist(), *other]), None, spec).errors) == {1, 2}


@pytest.mark.parametrize("list_type", [pa.list_, pa.large_list])
def test_nested_lists_with_the_channels_first_are_refused_with_the_transposition(list_type):
    given = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    column = pa.array([given.tolist(), given.transpose(1, 2, 0).tolist()], list_type(list_type(list_type(pa.int32()))))
    samples = arrays(column, ArraySpec((4, 5, 3), "uint8"))
    assert set(samples.errors) == {0}
    assert "the channels are first: transpose(1, 2, 0)" in samples.errors[0]
    np.testing.assert_array_equal(samples.images[1], given.transpose(1, 2, 0))
