"""Rows cut into pieces, and put together, wherever batches end."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.inference.arrow_chunks import PIECE, join, split

SIZE = 4


def cut(values, records):
    """What ``split`` and Spark do to (key, value) rows, in plain Python."""
    rows = []
    for key, value in enumerate(values):
        parts = [value[at : at + SIZE] for at in range(0, len(value), SIZE)] or [b""] if value is not None else [None]
        rows += [(key if i == 0 else None, part, i) for i, part in enumerate(parts)]
    for at in range(0, len(rows), records):
        keys, parts, numbers = zip(*rows[at : at + records], strict=True)
        columns = [pa.array(keys, pa.int64()), pa.array(parts, pa.binary()), pa.array(numbers, pa.int32())]
        yield pa.RecordBatch.from_arrays(columns, names=["key", "image", PIECE])


VALUES = st.lists(st.none() | st.binary(max_size=20), max_size=20)


@given(VALUES, st.integers(1, 9))
def test_rows_come_back_whole_and_in_order(values, records):
    joined = list(join(cut(values, records), "image", SIZE))
    assert [v for batch in joined for v in batch.column("image").to_pylist()] == values
    assert [k for batch in joined for k in batch.column("key").to_pylist()] == list(range(len(values)))
    assert all(batch.schema.names == ["key", "image"] for batch in joined)
    for batch in joined:
        batch.validate(full=True)


@given(VALUES, st.integers(1, 9), st.integers(0, 3))
def test_batches_may_be_views_of_larger_ones(values, records, beside):
    def shifted():
        for batch in cut(values, records):
            extra = pa.Table.from_batches([batch.slice(0, 1)] * beside + [batch]).combine_chunks().to_batches()[0]
            yield extra.slice(beside)

    joined = join(shifted(), "image", SIZE)
    assert [v for batch in joined for v in batch.column("image").to_pylist()] == values


def test_small_rows_are_not_copied():
    [batch] = cut([b"ab", b"c"], 10)
    [joined] = join([batch], "image", SIZE)
    assert joined.column("image").buffers()[2].address == batch.column("image").buffers()[2].address


@pytest.mark.spark
def test_spark_cuts_as_join_expects(spark):
    values = [b"", b"abc", None, b"abcd", b"abcde", bytes(range(40)), b"abcdefgh"]
    rows = spark.createDataFrame(
        [(i, {"data": value, "origin": str(i)} if i % 2 else None, value) for i, value in enumerate(values)],
        "`a.key` int, image struct<origin: string, data: binary>, content binary",
    )
    for name in ("content", "image"):
        cut_rows = split(rows, name, SIZE).toPandas()
        assert cut_rows["a.key"].notna().sum() == len(values)
        large = [v for i, v in enumerate(values) if v and len(v) > SIZE and (name == "content" or i % 2)]
        assert len(cut_rows) == len(values) + sum(-(-len(v) // SIZE) - 1 for v in large)
        pieces = cut_rows[name] if name == "content" else cut_rows[name].map(lambda row: row and row["data"])
        assert all(len(piece) <= SIZE for piece in pieces if piece is not None)
