"""The raw codec: Petastorm's bytes, without Petastorm's work per row."""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.dataset.storage import raw
from tests.conftest import noise

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))
counts = st.integers(1, 20)
DTYPES = [
    *("bool", "float16", "float32", "float64"),
    *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)),
]
tensors = st.tuples(
    counts, st.lists(st.integers(1, 7), min_size=1, max_size=5).map(tuple), st.sampled_from(DTYPES), st.integers(0, 99)
)


def joined(column, shape, dtype="uint8"):
    return np.concatenate(raw.view(column, shape, dtype))


def values(count, shape, dtype, seed):
    """Any bits at all, NaN and infinity among them."""
    size = count * int(np.prod(shape)) * np.dtype(dtype).itemsize
    bits = noise(size, seed=seed)
    return (bits % 2 if dtype == "bool" else bits).view(dtype).reshape(count, *shape)


@given(tensors)
def test_arrays_of_every_type_and_rank_are_what_petastorm_stores_and_come_back_bit_by_bit(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from petastorm.codecs import NdarrayCodec
        from petastorm.unischema import UnischemaField
    samples, (_, shape, dtype, _) = values(*case), case
    field = UnischemaField("image", np.dtype(dtype).type, shape, NdarrayCodec(), False)
    encoded = raw.encode(samples)
    assert encoded.to_pylist() == [bytes(field.codec.encode(field, sample)) for sample in samples]
    for column in (pa.chunked_array([encoded]), pa.chunked_array([raw.encode(samples[:1]), encoded.slice(1)])):
        viewed = joined(column, shape, dtype)
        assert (viewed.dtype, viewed.shape) == (samples.dtype, samples.shape)
        assert viewed.tobytes() == samples.tobytes()


@given(tensors, st.sampled_from(["<", ">"]), st.booleans())
def test_order_of_bytes_and_of_axes_do_not_matter(case, order, fortran):
    samples = values(*case)
    swapped = np.array(samples.astype(samples.dtype.newbyteorder(order)), order="F" if fortran else "C")
    assert raw.encode(swapped).equals(raw.encode(samples))


@given(st.sampled_from(DTYPES), st.sampled_from(DTYPES))
def test_another_type_is_refused_even_of_the_same_width(stored, expected):
    column = pa.chunked_array([raw.encode(np.ones((3, 4, 2), stored))])
    if stored == expected:
        assert (joined(column, (4, 2), expected) == 1).all()
    else:
        with pytest.raises(ValueError, match=r"shape \(4, 2\)"):
            raw.view(column, (4, 2), expected)


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
