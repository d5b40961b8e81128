"""Write scored rows to a folder so that readers see either the complete old result or the complete new one."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from convoy.dataset.sources.rows import glob_escaped
from convoy.dataset.storage.filesystem import Location, location
from convoy.dataset.storage.object_path import ObjectPath
from convoy.errors import ConfigError, SourceError
from convoy.inference.sinks import object_folder, publish
from convoy.inference.sinks.result import OURS, SinkResult, check_errors
from convoy.inference.stream_offset import StreamOffset


def output_folder(given: str) -> Location:
    """Return ``scoring.output`` as an absolute path, or as a URL in an object store.

    Raises:
        ConfigError: It holds something other than an earlier result of this job.
    """
    path = location(given)
    if isinstance(path, ObjectPath):
        object_folder.check_folder(given, path)
        return path
    path = path.resolve() if path.is_symlink() else path  # the link is kept, its target is replaced
    publish.recover(path)
    if path.is_mount():
        raise ConfigError(f"scoring.output {given!r} is a mount point; choose a folder below it")
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not _is_earlier_result(path)):
        raise ConfigError(f"scoring.output {given!r} holds other files; choose another, or remove them")
    return path


def _is_earlier_result(folder: Path) -> bool:
    part = next(_parts(folder), None)
    if part is None or not (folder / "_SUCCESS").exists() or any(entry.is_dir() for entry in os.scandir(folder)):
        return False
    try:
        return set(pq.read_schema(part).names) >= OURS
    except (OSError, pa.ArrowInvalid):
        return False


def read_scores(spark: SparkSession, target: Path) -> DataFrame | None:
    """Return the rows of an earlier result, or None if there is none."""
    if not target.is_dir() or next(_parts(target), None) is None:
        return None
    return spark.read.parquet(glob_escaped(_url(target)))


def read_files(spark: SparkSession, target: Path, files: Iterable[str], schema: StructType) -> DataFrame:
    """Return the rows of some files of a result."""
    paths = [glob_escaped(_url(target / name)) for name in sorted(files)]
    return spark.read.schema(schema).parquet(*paths) if paths else spark.createDataFrame([], schema)


def write_parquet(
    scored: DataFrame,
    target: Path,
    max_error_fraction: float = 1.0,
    *,
    add: bool = False,
    earlier: tuple[int, int] = (0, 0),
    expected: frozenset[str] | None = None,
    position: StreamOffset | None = None,
) -> SinkResult:
    """Write Parquet files to a folder; they become visible together when the last one is complete.

    Args:
        scored: The rows.
        target: The folder.
        max_error_fraction: With a larger share of rows with an error the folder is not changed.
        add: Keep the existing files as well; otherwise they are replaced.
        earlier: (rows, rows with an error) that count with the new ones for that share.
        expected: The names of the existing files, to detect changes by another job.
        position: Offset of a stream, stored with the rows.

    Raises:
        SourceError: Too many rows have an error, the message has the most frequent one; or another job has changed
            the files.
    """
    with publish.draft(target) as new:
        scored.write.parquet(_url(new))
        rows, errors = count(new)
        check_errors(rows, errors, earlier, max_error_fraction, lambda: _commonest_error(new))
        if add and not rows and position is None and target.is_dir():
            return SinkResult(str(target), 0, 0, read_files(scored.sparkSession, target, (), scored.schema))
        files = frozenset(part.name for part in _parts(new))
        if position is not None:
            position.write(new)
        if not publish.publish(new, target, keep=add, expected=expected):
            raise SourceError(
                f"{target} was changed by another job meanwhile, so nothing was added; run this one again"
            )
    return SinkResult(str(target), rows, errors, read_files(scored.sparkSession, target, files, scored.schema), files)


def count(folder: Path, files: Iterable[str] | None = None) -> tuple[int, int]:
    """Return (rows, rows with an error) of a written result, or of some of its files."""
    rows = errors = 0
    for part in _parts(folder) if files is None else (folder / name for name in files):
        column = pq.ParquetFile(part).read(columns=["error"]).column("error")
        rows, errors = rows + len(column), errors + len(column) - column.null_count
    return rows, errors


def _commonest_error(folder: Path) -> str:
    found: Counter[str] = Counter()
    for part in _parts(folder):
        found.update(pq.ParquetFile(part).read(columns=["error"]).column("error").drop_null().to_pylist())
    return found.most_common(1)[0][0]


def _parts(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix == ".parquet")


def _url(path: Path) -> str:
    """Return the URL of a path for Spark: not percent-encoded, since Hadoop takes names literally."""
    return f"file://{path}"
