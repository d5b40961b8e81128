"""The file of a manifest in an object store: inspected on the driver, read by a task without Spark's file systems.

Spark reads S3 with Hadoop's ``s3a``, whose jars it does not have by default, and with settings of its own. A task that
downloads the object needs neither. It reads the content that the driver has inspected, or fails.
"""

import csv
import functools
import itertools
import json
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema, from_arrow_type, to_arrow_schema

from convoy.cluster.scratch import scratch_folder
from convoy.cluster.session_facts import parallelism
from convoy.dataset.sources.manifest_file import ManifestFile, inspect_file
from convoy.dataset.storage.object_path import ObjectPath
from convoy.errors import SourceError

_ROWS = 10_000  # in a batch


def inspect_object(url: str, required: Collection[str], optional: Collection[str] = ()) -> ManifestFile:
    """Find out the format and the columns of an object; see ``inspect_file``."""
    with ObjectPath(url).open() as file:
        etag = str(file.etag)
    copy = _downloaded(url, etag)
    return replace(inspect_file(copy, required, optional), path=url, etag=etag, copy=copy)


def load_object(spark: SparkSession, file: ManifestFile) -> DataFrame:
    """Return the rows of an object, with the columns and types that Spark's readers give for a local file."""
    schema = _schema(file)
    groups = pq.ParquetFile(file.copy).num_row_groups if file.kind == "parquet" else 1
    work = functools.partial(read_rows, file=file, schema=schema)
    tasks = max(1, min(groups, 4 * parallelism(spark)))
    return spark.range(0, groups, numPartitions=tasks).mapInArrow(work, from_arrow_schema(schema))


def read_rows(batches: Iterable[pa.RecordBatch], file: ManifestFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Convert rows (id) to the rows of the row groups with those indices; other formats are one. Runs on a worker."""
    for batch in batches:
        with ObjectPath(file.path).open() as stream:
            if str(stream.etag) != file.etag:
                raise SourceError(f"manifest {file.path!r} has changed while it was read; ingest again")
            if file.kind == "parquet":
                parquet = pq.ParquetFile(stream)
                for group in batch.column("id").to_pylist():
                    rows = parquet.read_row_group(group, columns=schema.names)
                    columns = [rows.column(field.name).cast(field.type, safe=False) for field in schema]
                    yield from pa.Table.from_arrays(columns, schema=schema).to_batches(max_chunksize=_ROWS)
                continue
            with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
                copy = Path(folder) / "manifest"
                copy.write_bytes(stream.read())
                for part in _batches(_records(file, schema, str(copy)), _ROWS):
                    yield pa.RecordBatch.from_pylist(part, schema)


def check_row_lengths(file: ManifestFile, first: str, what: str) -> None:
    """Raise ``SourceError`` if a row of a CSV has more fields than its header; see ``rows.check_fields``."""
    with _text(str(file.copy)) as text:
        for row in _csv_rows(text, file):
            further = [value for value in row[len(file.columns) :] if value.strip()]
            if further:
                raise SourceError(
                    f"{what}: row {row[file.columns.index(first)]!r} has more fields than the header has columns"
                    f" ({len(file.columns)}), {further[0]!r} is left over; put fields that contain commas into double"
                    " quotes"
                )


def _schema(file: ManifestFile) -> pa.Schema:
    if file.kind == "parquet":
        plain = pa.schema([(field.name, _plain(field.type)) for field in pq.read_schema(file.copy)])
        return to_arrow_schema(from_arrow_schema(plain))  # with the units of time that Spark has
    if file.kind == "csv":
        return pa.schema([(name, pa.string()) for name in file.columns])
    kinds: dict[str, set[type]] = {}
    for row in _json_rows(str(file.copy)):
        for name, value in row.items():
            kinds.setdefault(name, set()).add(type(value))
    return pa.schema([(name, _json_type(found - {type(None)})) for name, found in kinds.items()])


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type that Spark reads for a type that pandas may have written; text for one that it does not know."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_unsigned_integer(kind):
        return pa.int64()
    if pa.types.is_float16(kind):
        return pa.float32()
    try:
        from_arrow_type(kind)
    except Exception:  # each version of Spark has its own
        return pa.string()
    return pa.string() if pa.types.is_large_string(kind) else kind


def _json_type(kinds: set[type]) -> pa.DataType:
    """Return the type of a column of JSON lines: as Spark, text for values of several kinds."""
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()


def _records(file: ManifestFile, schema: pa.Schema, copy: str) -> Iterator[dict[str, Any]]:
    if file.kind == "csv":
        with _text(copy) as text:
            for row in _csv_rows(text, file):
                yield dict(itertools.zip_longest(file.columns, (value or None for value in row[: len(file.columns)])))
        return
    texts = {field.name for field in schema if field.type == pa.string()}
    for record in _json_rows(copy):
        yield {name: _as_text(value) if name in texts else value for name, value in record.items()}


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _text(copy: str) -> TextIO:
    return open(copy, encoding="utf-8-sig", errors="replace", newline="")


def _csv_rows(text: TextIO, file: ManifestFile) -> Iterator[list[str]]:
    """Yield the rows of a CSV without its header and without blank lines."""
    rows = (row for row in csv.reader(text, delimiter=file.separator, skipinitialspace=file.spaced) if row)
    next(rows, None)
    yield from ([value.strip() for value in row] for row in rows) if file.spaced else rows


def _json_rows(copy: str) -> Iterator[dict[str, Any]]:
    with open(copy, encoding="utf-8") as text:
        for number, line in enumerate(text, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except ValueError:
                    row = None
                if not isinstance(row, dict):
                    raise SourceError(f"line {number} of the manifest is not an object of JSON lines")
                yield row


def _batches(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    while part := list(itertools.islice(rows, size)):
        yield part


@functools.lru_cache(maxsize=8)
def _downloaded(url: str, etag: str) -> str:
    """Return the path of a copy of an object, which is kept until the process ends."""
    copy = Path(scratch_folder("convoy-")) / ObjectPath(url).name
    ObjectPath(url).download(copy)
    return str(copy)
