"""Rows of any size in Arrow batches of bounded size.

Spark bounds an Arrow batch only by its number of rows (``spark.sql.execution.arrow.maxRecordsPerBatch``), so that a
thousand photographs of 5 MB would be sent to a Python worker at once. Here the JVM cuts large values into several
consecutive rows, and the worker joins them. In Arrow's memory consecutive pieces are adjacent, so nothing is copied
unless a batch ends between two pieces.
"""

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

PIECE = "__convoy_piece"
_BATCH_BYTES = 16 << 20
_LEAST = 4 << 10


def piece_bytes(records: int) -> int:
    """Return the bytes of a piece for a number of records per batch (0: no limit, as for Spark)."""
    return max(_LEAST, _BATCH_BYTES // (records or 10_000))


def split(rows: DataFrame, name: str, size: int) -> DataFrame:
    """Cut the values of a column into pieces.

    Args:
        rows: Any DataFrame.
        name: A binary column, or a struct with a binary field ``data`` or ``bytes``.
        size: Bytes of a piece.

    Returns:
        The same columns and ``PIECE``, the piece's number from 0; other columns are null in further pieces.
    """
    kind = rows.schema[name].dataType
    struct = _field(kind.names) if isinstance(kind, StructType) else None
    whole = quoted(name)[struct] if struct else quoted(name)
    large = F.length(whole) > size
    numbers = F.when(large, F.sequence(F.lit(0), ((F.length(whole) - 1) / size).cast("int"))).otherwise(
        F.array(F.lit(0))
    )
    exploded = rows.withColumn(PIECE, F.explode(numbers))
    piece = F.when(large, whole.substr(F.col(PIECE) * size + 1, F.lit(size))).otherwise(whole)
    first = F.col(PIECE) == 0
    columns = [
        (quoted(name).withField(struct, piece) if struct else piece).alias(name)
        if column == name
        else F.when(first, quoted(column)).alias(column)
        for column in rows.columns
    ]
    return exploded.select(*columns, PIECE)


def _field(names: Collection[str]) -> str:
    """Return the field with the bytes of a struct: ``data`` of Spark's images, ``bytes`` of Hugging Face's."""
    return "data" if "data" in names else "bytes"


def quoted(name: str) -> Column:
    """Return the column of that name, which may contain any characters."""
    return F.col("`" + name.replace("`", "``") + "`")


def join(batches: Iterable[pa.RecordBatch], name: str, size: int) -> Iterator[pa.RecordBatch]:
    """Join the rows that ``split`` has cut; the batches hold whole rows, in order, without ``PIECE``."""
    open_row: list[pa.RecordBatch] = []  # pieces of one row, whose last piece may not have arrived yet
    for batch in batches:
        if not batch.num_rows:
            continue
        first = batch.column(batch.schema.get_field_index(PIECE)).to_numpy() == 0
        starts = np.flatnonzero(first)
        begin = int(starts[0]) if len(starts) else batch.num_rows
        if begin:
            open_row.append(batch.slice(0, begin))
        if len(starts):
            if open_row:
                yield _one_row(open_row, name)
                open_row = []
            end = batch.num_rows
            if _length(_data(batch, name), end - 1) == size:  # a full piece: the row may continue in the next batch
                end = int(starts[-1])
                open_row = [batch.slice(end)]
            if end > begin:
                yield _whole_rows(batch.slice(begin, end - begin), starts[starts < end] - begin, name)
    if open_row:
        yield _one_row(open_row, name)


def _data(batch: pa.RecordBatch, name: str) -> pa.Array:
    """Return the binary values that were cut."""
    column = batch.column(batch.schema.get_field_index(name))
    if pa.types.is_struct(column.type):
        names = [field.name for field in column.type]
        column = column.flatten()[names.index(_field(names))]
    return column.cast(pa.binary()) if pa.types.is_large_binary(column.type) else column


def _length(data: pa.Array, row: int) -> int:
    value = data[row]
    return len(value.as_buffer()) if value.is_valid else 0


def _whole_rows(batch: pa.RecordBatch, starts: np.ndarray, name: str) -> pa.RecordBatch:
    """Return the rows that begin at these indices and end where the next one begins."""
    if len(starts) == batch.num_rows:
        return _without_piece(batch)
    data = _data(batch, name)
    _, offsets, values = data.buffers()
    ends = np.frombuffer(offsets, np.int32)[data.offset : data.offset + len(data) + 1]
    joined_offsets = pa.py_buffer(np.append(ends[starts], ends[-1]).astype(np.int32))
    valid = data.take(pa.array(starts)).is_valid().buffers()[1]
    joined = pa.Array.from_buffers(pa.binary(), len(starts), [valid, joined_offsets, values])
    return _with_data(_without_piece(batch.take(pa.array(starts))), name, joined)


def _one_row(pieces: list[pa.RecordBatch], name: str) -> pa.RecordBatch:
    first = _without_piece(pieces[0].slice(0, 1))
    if len(pieces) == 1 and pieces[0].num_rows == 1:
        return first
    content = b"".join(value.as_buffer() for piece in pieces for value in _data(piece, name))
    return _with_data(first, name, pa.array([content], pa.binary()))


def _with_data(batch: pa.RecordBatch, name: str, data: pa.Array) -> pa.RecordBatch:
    index = batch.schema.get_field_index(name)
    column = batch.column(index)
    if pa.types.is_struct(column.type):
        cut = _field([field.name for field in column.type])
        fields = [
            data if field.name == cut else part for field, part in zip(column.type, column.flatten(), strict=True)
        ]
        data = pa.StructArray.from_arrays(fields, [field.name for field in column.type], mask=column.is_null())
    columns = [data if i == index else other for i, other in enumerate(batch.columns)]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _without_piece(batch: pa.RecordBatch) -> pa.RecordBatch:
    names = [name for name in batch.schema.names if name != PIECE]
    return pa.RecordBatch.from_arrays([batch.column(batch.schema.get_field_index(n)) for n in names], names=names)
