"""Decode samples on Spark's workers and write them as Parquet files, with PyArrow, file by file.

Writing in the Python worker avoids sending every pixel through the JVM and gives exact control of row groups.
A file gets its final name only when it is complete, so a task that Spark repeats does no harm.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby, repeat
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from convoy.config import StorageConfig
from convoy.config.locations import is_object_url
from convoy.dataset.ingest.moments import Moments, exact_sums, merged, moments_of
from convoy.dataset.sources import Source
from convoy.dataset.storage.codec import encode_column
from convoy.dataset.storage.filesystem import location, move_file
from convoy.dataset.storage.object_catalog import StagedVersion, data_file, upload_data
from convoy.dataset.storage.object_path import ObjectPath
from convoy.dataset.storage.schema import ARROW_SCHEMA, WEIGHTED_SCHEMA
from convoy.errors import SourceError
from convoy.images import (
    REPAIRS,
    ArraySpec,
    BadImage,
    Geometry,
    brightness,
    check_array,
    prepare_measured,
    read_array,
)

REPORT = "report string"
CHANGED = "an image has changed since it was listed"
_BATCH_BYTES = 1 << 20  # of Parquet's writer: its default of 1,024 values takes twice as long
_SIZES = 200  # most different sizes that a file reports, the most frequent ones


@dataclass(frozen=True)
class WriteTask:
    """What a worker needs to write files.

    Attributes:
        folder: The staged version's folder.
        source: Where to read the samples.
        geometry: Target geometry; None for arrays, which are stored unchanged.
        spec: Shape and type of a stored sample.
        classes: Class names; a sample's label is its class's index.
        rows_per_group: Split -> rows of a row group.
        storage: Codec and quality.
        weighted: Whether samples have weights.
        writer: In an object store, the id of the writer of the version; see ``object_catalog``.
    """

    folder: str
    source: Source
    geometry: Geometry | None
    spec: ArraySpec
    classes: list[str]
    rows_per_group: dict[str, int]
    storage: StorageConfig
    weighted: bool
    writer: str = ""


@dataclass
class FileReport:
    """Report of one written file.

    Sums of uint8 are exact integers, so their total does not depend on any order; other types have moments.

    Attributes:
        split: Name of the split.
        file: File name.
        row_groups: Rows of each row group.
        bytes: Size of the file.
        sha256: Its checksum.
        per_class: Samples of each class.
        pixel_sum: Sum of the pixels of each channel.
        pixel_squares: Sum of the squared pixels of each channel.
        moments: For types other than uint8: the fields of ``Moments``; None if the file has no rows.
        bad: Samples that could not be used: path, reason, detail, size, class_name.
        sizes: (height, width) -> samples of that size before resizing, as [height, width, samples].
        heights: Height before resizing -> samples of it, as [height, samples].
        widths: Width before resizing -> samples of it, as [width, samples].
        brightness: For images, as ``brightness`` measures it: [brightness, samples].
        notes: Key of ``images.REPAIRS`` or ``images.OBSERVATIONS`` -> [samples, one path].
    """

    split: str
    file: str
    row_groups: list[int] = field(default_factory=list)
    bytes: int = 0
    sha256: str = ""
    per_class: list[int] = field(default_factory=list)
    pixel_sum: list[int] = field(default_factory=list)
    pixel_squares: list[int] = field(default_factory=list)
    moments: dict[str, Any] | None = None
    bad: list[dict[str, Any]] = field(default_factory=list)
    sizes: list[list[int]] = field(default_factory=list)
    heights: list[list[int]] = field(default_factory=list)
    widths: list[list[int]] = field(default_factory=list)
    brightness: list[list[int]] = field(default_factory=list)
    notes: dict[str, list[Any]] = field(default_factory=dict)


class _Row(NamedTuple):
    """A sample to write; ``content`` is None if it is read from the source."""

    split: str
    file: int
    path: str
    name: str
    class_name: str
    digest: str
    size: int
    error: str | None
    weight: float | None
    content: bytes | None


def write_files(batches: Iterable[pa.RecordBatch], task: WriteTask) -> Iterator[pa.RecordBatch]:
    """Write the files of a partition, whose rows are sorted by (split, file, key). Runs on a worker.

    Yields:
        One row per file: a ``FileReport`` as JSON.
    """
    rows = (row for batch in batches for row in _rows(batch))
    for (split, file), samples in groupby(rows, key=itemgetter(0, 1)):
        report = _write_file(samples, split, file, task)
        yield pa.RecordBatch.from_pylist([{"report": json.dumps(asdict(report))}])


def _rows(batch: pa.RecordBatch) -> Iterator[_Row]:
    names = batch.schema.names
    columns = [batch.column(name).to_pylist() if name in names else repeat(None) for name in _Row._fields]
    return map(_Row._make, zip(*columns, strict=False))


def _write_file(samples: Iterator[_Row], split: str, file: int, task: WriteTask) -> FileReport:
    name = data_file(f"part-{file:05d}.parquet", task.writer)
    report = FileReport(split, name, per_class=[0] * len(task.classes))
    with _draft(task, split, name) as draft:
        if _write_draft(samples, split, draft, task, report):
            report.bytes, report.sha256 = os.path.getsize(draft), _sha256(draft)
            _finish(draft, task, split, name)
    return report


@contextlib.contextmanager
def _draft(task: WriteTask, split: str, name: str) -> Iterator[str]:
    """Yield the path of a local file to write: beside the final one, or a temporary one to be uploaded."""
    if isinstance(folder := location(task.folder), ObjectPath):
        with tempfile.TemporaryDirectory(prefix="convoy-") as temporary:
            yield os.path.join(temporary, name)
        return
    with contextlib.suppress(FileExistsError):
        (folder / split).mkdir()  # not its parents: a task that outlives its driver must not recreate them
    yield str(folder / split / f".{name}-{uuid.uuid4().hex[:8]}")


def _finish(draft: str, task: WriteTask, split: str, name: str) -> None:
    """Give a complete file its final name."""
    final = location(task.folder) / split / name
    if isinstance(final, ObjectPath):
        upload_data(Path(draft), final, StagedVersion(task.folder, task.writer).marker)
    else:
        move_file(Path(draft), final)


def _write_draft(samples: Iterator[_Row], split: str, draft: str, task: WriteTask, report: FileReport) -> bool:
    """Write the samples to a file, and complete the report; return False, without a file, if none can be used."""
    label_of = {name: label for label, name in enumerate(task.classes)}
    channels = task.spec.shape[-1]
    sums, squares = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    moments: list[Moments] = []
    levels = Counter[int]()
    schema = WEIGHTED_SCHEMA if task.weighted else ARROW_SCHEMA
    writer = None
    try:
        for images, kept, payloads in _row_groups(samples, task, split, report):
            if writer is None:
                writer = pq.ParquetWriter(
                    draft,
                    schema,
                    compression={name: "NONE" if name == "image" else "ZSTD" for name in schema.names},
                    use_dictionary=["path"],
                    write_statistics=["label"],
                    write_batch_size=max(1, min(1024, _BATCH_BYTES // images[0].nbytes)),
                )
            labels = [label_of[row.class_name] for row in kept]
            columns = [
                encode_column(images, payloads, task.storage, task.geometry),
                pa.array(labels, pa.int32()),
                pa.array([row.name for row in kept], pa.string()),
                pa.array([row.digest for row in kept], pa.string()),
                *([pa.array([row.weight for row in kept], pa.float32())] if task.weighted else []),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=len(kept))
            report.row_groups.append(len(kept))
            for label in labels:
                report.per_class[label] += 1
            if images.dtype == np.uint8:
                more, more_squares = exact_sums(images)
                sums, squares = sums + more, squares + more_squares
                if task.geometry:
                    levels.update(brightness(images).tolist())
            else:
                moments.append(moments_of(images))
    finally:
        if writer is not None:
            writer.close()
    report.pixel_sum, report.pixel_squares = sums.tolist(), squares.tolist()
    report.brightness = [[level, count] for level, count in sorted(levels.items())]
    if moments:
        report.moments = asdict(merged(moments))
    return writer is not None


def _row_groups(
    samples: Iterator[_Row], task: WriteTask, split: str, report: FileReport
) -> Iterator[tuple[np.ndarray, list[_Row], list[bytes | np.ndarray]]]:
    """Yield (samples (n, H, W, C) or (n, ...), their rows, their payloads) for each row group; record the bad ones."""
    rows_per_group = task.rows_per_group[split]
    images = np.empty((rows_per_group, *task.spec.shape), task.spec.dtype)
    kept: list[_Row] = []
    payloads: list[bytes | np.ndarray] = []
    sizes = Counter[tuple[int, int]]()
    for row in samples:
        repaired = False
        try:
            if row.error:
                raise BadImage("unreadable", row.error)
            payload = task.source.read(row.path) if row.content is None else row.content
            _check_unchanged(row, payload)
            if task.geometry:
                notes: list[str] = []
                images[len(kept)], size = prepare_measured(payload, task.geometry, notes)
                sizes[size] += 1
                repaired = any(note in REPAIRS for note in notes)
                for note in notes:
                    report.notes.setdefault(note, [0, row.name])[0] += 1
            else:
                array = read_array(payload) if isinstance(payload, bytes) else payload
                images[len(kept)] = check_array(array, task.spec)
        except (BadImage, OSError) as problem:
            reason = problem.reason if isinstance(problem, BadImage) else "unreadable"
            detail = problem.detail if isinstance(problem, BadImage) else str(problem)
            bad = {"path": row.name, "reason": reason, "detail": detail, "size": row.size}
            report.bad.append({**bad, "class_name": row.class_name})
            continue
        kept.append(row._replace(content=None) if row.content is not None else row)
        payloads.append(payload if task.storage.codec == "keep" and not repaired else b"")
        if len(kept) == rows_per_group:
            yield images, kept, payloads
            kept, payloads = [], []
    if kept:
        yield images[: len(kept)], kept, payloads
    report.sizes = [[height, width, count] for (height, width), count in sizes.most_common(_SIZES)]
    heights, widths = Counter[int](), Counter[int]()
    for (height, width), count in sizes.items():
        heights[height] += count
        widths[width] += count
    report.heights, report.widths = ([[*pair] for pair in sorted(side.items())] for side in (heights, widths))


def _check_unchanged(row: _Row, payload: bytes | np.ndarray) -> None:
    """Raise ``SourceError`` if an object is not the one that was listed; a digest takes little beside its download."""
    if isinstance(payload, bytes) and is_object_url(row.path):
        digest = hashlib.blake2b(payload, digest_size=16).hexdigest() if payload else ""
        if digest != row.digest:
            raise SourceError(f"{CHANGED}: {row.path}; ingest again")


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
