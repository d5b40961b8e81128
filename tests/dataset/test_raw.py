"""The raw codec: Petastorm's bytes, without Petastorm's work per row."""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.dataset import raw
from tests.conftest import noise

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))
counts = st.integers(1, 20)


def joined(column, shape):
    return np.concatenate(raw.view(column, shape))


@given(counts, shapes)
def test_every_value_is_what_petastorm_stores(count, shape):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from petastorm.codecs import NdarrayCodec
        from petastorm.unischema import UnischemaField
    codec, images = NdarrayCodec(), noise(count, *shape)
    field = UnischemaField("image", np.uint8, shape, codec, False)
    assert raw.encode(images).to_pylist() == [bytes(codec.encode(field, image)) for image in images]


@given(counts, shapes)
def test_view_returns_the_very_pixels_without_copying(count, shape):
    images = noise(count, *shape)
    encoded = raw.encode(images)
    (viewed,) = raw.view(pa.chunked_array([encoded]), shape)
    assert viewed.dtype == np.uint8
    assert np.array_equal(viewed, images)
    assert np.shares_memory(viewed, np.frombuffer(encoded.buffers()[2], np.uint8))


@given(st.lists(counts, min_size=1, max_size=4), shapes, st.data())
def test_chunks_and_slices_are_viewed_in_order(sizes, shape, data):
    images = noise(sum(sizes), *shape)
    chunks = [raw.encode(part) for part in np.split(images, np.cumsum(sizes)[:-1])]
    column = pa.chunked_array([*chunks, pa.array([], pa.binary())])
    assert np.array_equal(joined(column, shape), images)
    start = data.draw(st.integers(0, len(images) - 1))
    stop = data.draw(st.integers(start + 1, len(images)))
    assert np.array_equal(joined(column.slice(start, stop - start), shape), images[start:stop])


def test_parquet_keeps_the_pixels(tmp_path):
    images = noise(50, 6, 5, 3)
    pq.write_table(pa.table({"image": raw.encode(images)}), tmp_path / "images.parquet", row_group_size=7)
    column = pq.read_table(tmp_path / "images.parquet").column("image")
    assert np.array_equal(joined(column, (6, 5, 3)), images)


@pytest.mark.parametrize("shape", [(4, 6, 1), (6, 4, 1), (5, 5, 3), (25, 1, 1), (5, 5)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        raw.view(pa.chunked_array([raw.encode(noise(3, 5, 5, 1))]), shape)


@pytest.mark.parametrize("values", [[b"x", b"yz"], [b"", b""], [b"\x93NUMPY" * 20]])
def test_other_values_are_refused(values):
    with pytest.raises(ValueError, match="shape"):
        raw.view(pa.chunked_array([pa.array(values, pa.binary())]), (5, 5, 1))
