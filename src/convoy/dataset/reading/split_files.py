"""The Parquet files of a split, read row group by row group; errors name the damaged file.

Local files are memory-mapped. Of files in an object store the parts that are needed are read, several at a time.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from convoy.dataset.reading.remote_parquet import Block, RemoteParquet, remote_parquet
from convoy.dataset.storage import raw
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import FileEntry, Manifest
from convoy.dataset.storage.object_path import ObjectPath, store_problem
from convoy.errors import DatasetError
from convoy.images import BadImage

_IMAGE = ["image"]
_REQUESTS = 8  # row groups of an object store that are read at the same time


@dataclass(frozen=True)
class RowGroup:
    """Position of a row group in a split.

    Attributes:
        path: The file.
        index: Number of the row group in the file.
        first: Number of its first row in the split, counted in stored order over all files.
        rows: Number of its rows.
    """

    path: Location
    index: int
    first: int
    rows: int


class SplitFiles:
    """The files of a split.

    Args:
        version_path: Folder of the version.
        manifest: Manifest of the version.
        split: Name of the split.

    Raises:
        DatasetError: There is no such split.
    """

    def __init__(self, version_path: Location, manifest: Manifest, split: str) -> None:
        self._manifest = manifest
        self._entries: dict[Location, FileEntry] = {
            version_path / split / file.name: file for file in manifest.split(split).files
        }
        self._fetched: dict[tuple[Location, int], list[Block]] = {}
        self.groups: list[RowGroup] = []
        for path, entry in self._entries.items():
            for index, rows in enumerate(entry.row_groups):
                self.groups.append(RowGroup(path, index, self.rows, rows))

    @property
    def rows(self) -> int:
        """Return the number of rows of all files."""
        return self.groups[-1].first + self.groups[-1].rows if self.groups else 0

    @property
    def group_rows(self) -> np.ndarray:
        """Return the rows of each row group, int64."""
        return np.array([group.rows for group in self.groups], np.int64)

    def path_of(self, row: int) -> Location:
        """Return the file that holds a row of the split."""
        return self.groups[bisect_right(self.groups, row, key=lambda group: group.first) - 1].path

    def targets(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Read labels, int32 (rows,), and weights, float32 (rows,), or None if the dataset has no weights."""
        weighted = self._manifest.weighted
        labels = np.empty(self.rows, np.int32)
        weights = np.empty(self.rows, np.float32) if weighted else None
        start = 0
        for path, table in self._columns(["label", "weight"] if weighted else ["label"]):
            with damage_named(path):
                end = start + len(table)
                labels[start:end] = table.column("label").to_numpy()
                if weights is not None:
                    weights[start:end] = table.column("weight").to_numpy()
                if not ((labels[start:end] >= 0) & (labels[start:end] < len(self._manifest.classes))).all():
                    raise ValueError(f"it has labels beyond the {len(self._manifest.classes)} classes")
                start = end
        return labels, weights

    def column(self, group: RowGroup) -> pa.ChunkedArray:
        """Read the stored images of a row group."""
        return self.table(group, _IMAGE).column("image")

    def table(self, group: RowGroup, columns: list[str]) -> pa.Table:
        """Read some columns of a row group."""
        with damage_named(group.path):
            if isinstance(group.path, ObjectPath):
                blocks = self._fetched.pop((group.path, group.index), None) if columns == _IMAGE else None
                return self._remote(group.path).table(group.index, columns, blocks)
            return self._open(group.path).read_row_group(group.index, columns=columns)

    def read_ahead(self, groups: Sequence[RowGroup]) -> Iterator[RowGroup]:
        """Yield row groups in turn, whose images are read next; in an object store the next ones are being fetched."""
        if not any(isinstance(group.path, ObjectPath) for group in groups):
            yield from groups
            return
        pool = ThreadPoolExecutor(_REQUESTS, "fetch")
        pending: deque[tuple[RowGroup, Future[list[Block]]]] = deque()
        try:
            following = iter(groups)
            for group in groups:
                while len(pending) < _REQUESTS and (coming := next(following, None)) is not None:
                    pending.append((coming, pool.submit(self._fetch, coming)))
                with damage_named(group.path):
                    self._fetched[group.path, group.index] = pending.popleft()[1].result()
                yield group
        finally:
            self._fetched.clear()
            pool.shutdown(cancel_futures=True)

    def raw_images(self, group: RowGroup) -> np.ndarray:
        """Return a view of the images of a row group of codec ``raw``: (rows, *shape) of the manifest's dtype."""
        column = self.column(group)
        with damage_named(group.path):
            chunks = raw.view(column, self._manifest.shape, self._manifest.dtype)
            return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)

    def encoded_images(self, group: RowGroup, within: np.ndarray | None = None) -> list[memoryview]:
        """Return views of the encoded images of a row group, without a copy of each under Python's lock.

        Args:
            group: One of ``groups``.
            within: int64 (n,), the rows of the group to return; None for all. Only these stay in memory.
        """
        column = self.column(group)
        if within is not None and len(within) < len(column):
            column = column.take(pa.array(within))
        files: list[memoryview] = []
        for chunk in column.chunks:
            _, offset_buffer, data = chunk.buffers()
            offsets = np.frombuffer(offset_buffer, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1].tolist()
            content = memoryview(data).cast("B") if data else memoryview(b"")
            files += [content[start:end] for start, end in pairwise(offsets)]
        return files

    def _columns(self, columns: list[str]) -> Iterator[tuple[Location, pa.Table]]:
        """Yield each file with some of its columns, small ones."""
        if not any(isinstance(path, ObjectPath) for path in self._entries):
            for path in self._entries:
                with damage_named(path):
                    table = self._open(path).read(columns=columns)
                yield path, table
            return

        def read(path: Location) -> pa.Table:
            with damage_named(path):
                file = self._remote(path)
                return pa.concat_tables(
                    file.table(group, columns) for group in range(len(self._entries[path].row_groups))
                )

        with ThreadPoolExecutor(_REQUESTS, "fetch") as pool:
            yield from zip(self._entries, pool.map(read, self._entries), strict=True)

    def _fetch(self, group: RowGroup) -> list[Block]:
        return self._remote(group.path).fetch(group.index, _IMAGE)

    def _remote(self, path: Location) -> RemoteParquet:
        assert isinstance(path, ObjectPath)
        entry = self._entries[path]
        file = remote_parquet(path, entry.bytes, entry.sha256)
        self._check_groups(path, file.footer)
        return file

    def _open(self, path: Location) -> pq.ParquetFile:
        # Memory-mapped: the image column is stored uncompressed, so its pages are parsed without a copy.
        file = pq.ParquetFile(path, memory_map=True)
        self._check_groups(path, file.metadata)
        return file

    def _check_groups(self, path: Location, footer: pq.FileMetaData) -> None:
        stored = [footer.row_group(index).num_rows for index in range(footer.num_row_groups)]
        if stored != (expected := self._entries[path].row_groups):
            raise ValueError(f"it holds row groups of {stored} rows, the manifest says {expected}")


@contextmanager
def damage_named(path: Location) -> Iterator[None]:
    """Turn errors of reading or decoding into a ``DatasetError`` that names the file."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException, BadImage) as error:
        if (problem := store_problem(error)) is not None:
            raise DatasetError(f"the dataset cannot be read: {problem}") from None
        text = (str(error) or type(error).__name__).splitlines()[0]
        raise DatasetError(f"{path} cannot be read ({text}); ingest the dataset again") from None
