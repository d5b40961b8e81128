"""Write scored rows to an object store: by the tasks themselves, published by an intent that survives its writer.

<scoring.output>/_staging-<writer>/part-00000-<random>.parquet   written by the tasks; readers skip names with ``_``
                _publishing   created exclusively by one job: the files to add and to remove
                part-00000-<random>.parquet, _SUCCESS   the result

A store has no renames, so the files of a result become visible one by one, and ``_SUCCESS``, which is removed first,
comes last. A job that finds the ``_publishing`` of a dead one completes it.
"""

import functools
import io
import json
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from convoy.dataset.storage import durable
from convoy.dataset.storage.object_frame import read_objects
from convoy.dataset.storage.object_path import ObjectPath, remove_all, store_problem
from convoy.dataset.storage.writers import CLAIM_SECONDS, forget, held, is_dead, new_writer
from convoy.errors import ConfigError, SourceError
from convoy.inference.sinks.result import OURS, SinkResult, check_errors

_STAGING, _INTENT, _COMPLETE = "_staging-", "_publishing", "_SUCCESS"
_REPORT = "file string, rows long, errors string"
_AT_ONCE = 16  # copies
_POLL_SECONDS = 0.5


def check_folder(given: str, target: ObjectPath) -> None:
    """Complete what a dead job began to publish, and check that the folder is empty or an earlier result.

    Raises:
        ConfigError: It holds something else, or the store gives no access.
    """
    with _store_errors(given):
        _complete_dead(target)
        _collect(target)
        if (target / _INTENT).is_file():
            raise ConfigError(f"another job is publishing in scoring.output {given!r}; run this one again later")
        others = [path for path, _ in target.entries() if not path.name.startswith(_STAGING)]
        if target.is_file() or (others and not _is_earlier_result(target)):
            raise ConfigError(f"scoring.output {given!r} holds other files; choose another, or remove them")


def names(target: ObjectPath) -> frozenset[str]:
    """Return the names of the result's files; empty if there is none."""
    with _store_errors(str(target)):
        entries = target.entries()
    return frozenset(path.name for path, is_folder in entries if not is_folder and path.name != _INTENT)


def read_scores(spark: SparkSession, target: ObjectPath) -> DataFrame | None:
    """Return the rows of an earlier result, or None if there is none."""
    with _store_errors(str(target)):
        files = list(target.glob("*.parquet"))
    return read_objects(spark, files) if files else None


def write_parquet(
    scored: DataFrame,
    target: ObjectPath,
    max_error_fraction: float,
    *,
    add: bool,
    earlier: tuple[int, int],
    expected: frozenset[str] | None,
) -> SinkResult:
    """Write Parquet files; see ``folder.write_parquet``."""
    with _store_errors(str(target)), _staging(target) as staged:
        work = functools.partial(write_part, folder=staged)
        reports = scored.mapInArrow(work, _REPORT).collect()
        errors = sum((Counter(json.loads(report.errors)) for report in reports), Counter[str]())
        counts = sum(report.rows for report in reports), errors.total()
        check_errors(*counts, earlier, max_error_fraction, lambda: errors.most_common(1)[0][0])
        files = frozenset(report.file for report in reports)
        if not files and (not add or not names(target)):  # a result without rows has columns
            files = frozenset([_write_empty(staged, scored.schema)])
        if (files or not add) and not _publish(staged, target, files, keep=add, expected=expected):
            raise SourceError(
                f"{target} was changed by another job meanwhile, so nothing was added; run this one again"
            )
    added = read_objects(scored.sparkSession, [target / name for name in sorted(files)], scored.schema)
    return SinkResult(str(target), *counts, added, files)


def write_part(batches: Iterable[pa.RecordBatch], folder: ObjectPath) -> Iterator[pa.RecordBatch]:
    """Write a partition to one file, and yield its name, its rows and how often each error occurs. Runs on a worker."""
    context = TaskContext.get()
    number = context.partitionId() if context is not None else 0
    name = f"part-{number:05d}-{uuid.uuid4()}.parquet"  # another one for each attempt of a task
    writer, rows, errors = None, 0, Counter[str]()
    with tempfile.TemporaryDirectory(prefix="convoy-") as temporary:
        try:
            for batch in batches:
                if not batch.num_rows:  # a partition without rows has no file
                    continue
                if writer is None:
                    writer = pq.ParquetWriter(Path(temporary) / name, batch.schema, compression="snappy")
                writer.write_table(pa.Table.from_batches([batch]))
                rows += batch.num_rows
                errors.update(batch.column(batch.schema.get_field_index("error")).drop_null().to_pylist())
        finally:
            if writer is not None:
                writer.close()
        if writer is not None:
            (folder / name).upload(Path(temporary) / name)
            yield pa.RecordBatch.from_pydict({"file": [name], "rows": [rows], "errors": [json.dumps(errors)]})


def _write_empty(folder: ObjectPath, schema: StructType) -> str:
    """Write a file without rows, and return its name."""
    name, file = f"part-00000-{uuid.uuid4()}.parquet", io.BytesIO()
    pq.write_table(to_arrow_schema(schema).empty_table(), file)
    (folder / name).write_bytes(file.getvalue())
    return name


def _is_earlier_result(target: ObjectPath) -> bool:
    entries = [(path, is_folder) for path, is_folder in target.entries() if not path.name.startswith(_STAGING)]
    parts = [path for path, _ in entries if path.suffix == ".parquet"]
    if not parts or not (target / _COMPLETE).is_file() or any(is_folder for _, is_folder in entries):
        return False
    try:
        with parts[0].open() as file:
            return set(pq.read_schema(file).names) >= OURS
    except pa.ArrowInvalid:
        return False


@contextmanager
def _staging(target: ObjectPath) -> Iterator[ObjectPath]:
    writer = new_writer()
    folder = target / f"{_STAGING}{writer}"
    with held(writer):
        (folder / "_writer").write_text(writer)
        try:
            yield folder
        finally:
            with suppress(OSError):  # the next job removes it
                folder.remove_tree()


def _publish(
    staged: ObjectPath, target: ObjectPath, files: frozenset[str], *, keep: bool, expected: frozenset[str] | None
) -> bool:
    """Publish files; return False, and change nothing, if another job has changed the result."""
    intent = target / _INTENT
    plan: dict[str, Any] = {"writer": staged.name.removeprefix(_STAGING), "add": [], "remove": []}
    until = time.monotonic() + CLAIM_SECONDS
    while not intent.create(json.dumps(plan).encode()):
        _complete_dead(target)
        if time.monotonic() > until:
            raise SourceError(f"another job is publishing in {target} and does not end; run this one again later")
        time.sleep(_POLL_SECONDS)
    old = names(target)
    if expected is not None and old != expected:
        intent.unlink()
        return False
    # Not earlier: what is removed is only known once no other job can publish.
    plan["add"] = sorted(files)
    plan["remove"] = [] if keep else sorted(name for name in old if name != _COMPLETE)
    intent.write_text(json.dumps(plan))
    _carry_out(target, plan)
    return True


def _carry_out(target: ObjectPath, plan: dict[str, Any]) -> None:
    """Add and remove the files of a plan; repeating what was done before does no harm."""
    staged = target / f"{_STAGING}{plan['writer']}"
    if not plan["add"]:
        (target / _INTENT).unlink()
        return
    (target / _COMPLETE).unlink(missing_ok=True)

    def copy(name: str) -> None:
        try:
            (staged / name).copy_to(target / name)
        except FileNotFoundError:
            if not (target / name).is_file():  # else it was copied, and the copy's origin removed
                raise

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(copy, plan["add"]))
    remove_all([target / name for name in plan["remove"]])
    (target / _COMPLETE).write_bytes(b"")
    (target / _INTENT).unlink()


def _complete_dead(target: ObjectPath) -> None:
    """Complete the publication of a job that was killed, if there is one."""
    intent = target / _INTENT
    with suppress(FileNotFoundError):
        plan, status = json.loads(intent.read_text()), intent.stat()
        if is_dead(plan["writer"], status, CLAIM_SECONDS):
            _carry_out(target, plan)


def _collect(target: ObjectPath) -> None:
    """Remove the staged files of jobs that were killed."""
    for folder in list(target.glob(f"{_STAGING}*")):
        writer, files = folder.name.removeprefix(_STAGING), folder.files()
        newest = max((status for _, status in files), key=lambda status: status.st_mtime_ns, default=None)
        if newest is not None and is_dead(writer, newest, durable.ABANDONED_SECONDS):
            folder.remove_tree()
            forget(writer)


@contextmanager
def _store_errors(given: str) -> Iterator[None]:
    """Turn errors of the store, on this machine or on a worker, into one line."""
    try:
        yield
    except (ConfigError, SourceError):
        raise
    except Exception as error:
        if (problem := store_problem(error)) is None:
            raise
        raise ConfigError(f"scoring.output {given!r} cannot be used: {problem}") from None
