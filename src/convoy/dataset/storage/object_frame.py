"""Parquet files in an object store as a DataFrame: read by the Python workers, without Spark's own file systems."""

import functools
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.types import StructType

from convoy.dataset.storage.object_path import ObjectPath

_ROWS = 1000  # in a batch; images may be large


def read_objects(
    spark: SparkSession, files: Sequence[ObjectPath], schema: StructType | None = None, rows: int = _ROWS
) -> DataFrame:
    """Return the rows of Parquet files.

    Args:
        spark: The session.
        files: At least one, unless there is a schema.
        schema: Columns to read; None reads those of the first file.
        rows: Most rows that a worker holds at once.
    """
    if schema is None:
        with files[0].open() as file:
            schema = from_arrow_schema(pq.read_schema(file).remove_metadata())
    if not files:
        return spark.createDataFrame([], schema)
    work = functools.partial(read_batches, files=list(files), schema=to_arrow_schema(schema), rows=rows)
    return spark.range(0, len(files), numPartitions=len(files)).mapInArrow(work, schema)


def read_batches(
    batches: Iterable[pa.RecordBatch], files: Sequence[ObjectPath], schema: pa.Schema, rows: int
) -> Iterator[pa.RecordBatch]:
    """Convert rows (id) to the rows of the files with those indices. Runs on a worker."""
    for batch in batches:
        for index in batch.column("id").to_pylist():
            with files[index].open() as file:
                for part in pq.ParquetFile(file).iter_batches(batch_size=rows, columns=schema.names):
                    table = pa.Table.from_batches([part]).select(schema.names).cast(schema)
                    yield from table.to_batches()
