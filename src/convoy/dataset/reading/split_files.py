"""The Parquet files of a split, read row group by row group; errors name the damaged file."""

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from convoy.dataset.storage import raw
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import DatasetError
from convoy.images import BadImage


@dataclass(frozen=True)
class RowGroup:
    """Position of a row group in a split.

    Attributes:
        path: The file.
        index: Number of the row group in the file.
        first: Number of its first row in the split, counted in stored order over all files.
        rows: Number of its rows.
    """

    path: Path
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

    def __init__(self, version_path: Path, manifest: Manifest, split: str) -> None:
        self._manifest = manifest
        self._entries = {version_path / split / file.name: file.row_groups for file in manifest.split(split).files}
        self.groups: list[RowGroup] = []
        for path, row_groups in self._entries.items():
            for index, rows in enumerate(row_groups):
                self.groups.append(RowGroup(path, index, self.rows, rows))

    @property
    def rows(self) -> int:
        """Return the number of rows of all files."""
        return self.groups[-1].first + self.groups[-1].rows if self.groups else 0

    @property
    def group_rows(self) -> np.ndarray:
        """Return the rows of each row group, int64."""
        return np.array([group.rows for group in self.groups], np.int64)

    def path_of(self, row: int) -> Path:
        """Return the file that holds a row of the split."""
        return self.groups[bisect_right(self.groups, row, key=lambda group: group.first) - 1].path

    def targets(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Read labels, int32 (rows,), and weights, float32 (rows,), or None if the dataset has no weights."""
        weighted = self._manifest.weighted
        labels = np.empty(self.rows, np.int32)
        weights = np.empty(self.rows, np.float32) if weighted else None
        start = 0
        for path in self._entries:
            with damage_named(path):
                table = self._open(path).read(columns=["label", "weight"] if weighted else ["label"])
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
        return self.table(group, ["image"]).column("image")

    def table(self, group: RowGroup, columns: list[str]) -> pa.Table:
        """Read some columns of a row group."""
        with damage_named(group.path):
            return self._open(group.path).read_row_group(group.index, columns=columns)

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

    def _open(self, path: Path) -> pq.ParquetFile:
        # Memory-mapped: the image column is stored uncompressed, so its pages are parsed without a copy.
        file = pq.ParquetFile(path, memory_map=True)
        stored = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
        if stored != self._entries[path]:
            raise ValueError(f"it holds row groups of {stored} rows, the manifest says {self._entries[path]}")
        return file


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn errors of reading or decoding into a ``DatasetError`` that names the file."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException, BadImage) as error:
        text = (str(error) or type(error).__name__).splitlines()[0]
        raise DatasetError(f"{path} cannot be read ({text}); ingest the dataset again") from None
