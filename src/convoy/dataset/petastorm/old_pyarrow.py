"""The parts of PyArrow below 15 that Petastorm uses: the "legacy" Parquet dataset, and connections to HDFS.

The names are PyArrow's. File systems are those of fsspec or PyArrow (``pyarrow.fs``).
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.implementations.local import LocalFileSystem
from pyarrow.fs import FileSystem

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "in": lambda value, among: value in among,
    "not in": lambda value, among: value not in among,
}


class ParquetDatasetPiece:
    """A Parquet file of a dataset, or one of its row groups.

    Args:
        path: The file.
        open_file_func: Opens it.
        row_group: Number of the row group; None for the whole file.
        partition_keys: (Name, index into the partition's values) of each ``name=value`` folder that contains it.
    """

    def __init__(
        self,
        path: str,
        open_file_func: Callable[[str], Any],
        row_group: int | None = None,
        partition_keys: Sequence[tuple[str, int]] | None = None,
    ) -> None:
        self.path, self.open_file_func, self.row_group = path, open_file_func, row_group
        self.partition_keys = list(partition_keys or [])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ParquetDatasetPiece) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"ParquetDatasetPiece({self.path!r}, row_group={self.row_group}, partition_keys={self.partition_keys})"

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.path, self.row_group, tuple(self.partition_keys)

    def get_metadata(self) -> pq.FileMetaData:
        """Return the file's footer."""
        with self.open_file_func(self.path) as file:
            return pq.read_metadata(file)

    def read(self, columns: Any = None, partitions: "ParquetPartitions | None" = None) -> pa.Table:
        """Read some columns, or all of them, and add a column for each partition."""
        names = None if columns is None else list(columns)
        with self.open_file_func(self.path) as file:
            parquet = pq.ParquetFile(file)
            table = (
                parquet.read(names) if self.row_group is None else parquet.read_row_group(self.row_group, columns=names)
            )
        for level, (name, index) in enumerate(self.partition_keys):
            if partitions is None:
                raise ValueError(f"{self.path} is in partitioned folders; expected them as partitions")
            indices = np.full(table.num_rows, index, np.int32)
            values = pa.DictionaryArray.from_arrays(indices, partitions.levels[level].dictionary)
            table = table.append_column(name, values)
        return table


class PartitionSet:
    """The values of one level of ``name=value`` folders.

    Attributes:
        name: Name of the level.
        keys: Its values as text, in the order in which they were found.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys: list[str] = []

    def get_index(self, key: str) -> int:
        """Return the index of a value; add the value if it is new."""
        if key not in self.keys:
            self.keys.append(key)
        return self.keys.index(key)

    @cached_property
    def dictionary(self) -> pa.Array:
        """Return the values: as integers if all of them are, else as text."""
        try:
            return pa.array([int(key) for key in self.keys])
        except ValueError:
            return pa.array(self.keys)


class ParquetPartitions:
    """The levels of ``name=value`` folders.

    Attributes:
        levels: From the outermost to the innermost.
    """

    def __init__(self) -> None:
        self.levels: list[PartitionSet] = []

    @property
    def partition_names(self) -> set[str]:
        """Return the names of the levels."""
        return {level.name for level in self.levels}

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, index: int) -> PartitionSet:
        return self.levels[index]

    def get_index(self, level: int, name: str, key: str) -> int:
        """Return the index of a value at a level; add both if they are new."""
        if level == len(self.levels):
            if name in self.partition_names:
                raise ValueError(f"{name} is the name of the partition at another level")
            self.levels.append(PartitionSet(name))
        return self.levels[level].get_index(key)

    def accept(self, keys: Sequence[tuple[str, int]], conditions: Sequence[tuple[str, str, Any]]) -> bool:
        """Return whether a piece with these keys may have rows that meet all conditions."""
        for column, symbol, wanted in conditions:
            if symbol not in _OPERATORS:
                raise ValueError(f"{symbol!r} is not a filter operator; expected one of {', '.join(_OPERATORS)}")
            for level, (name, index) in enumerate(keys):
                example = next(iter(wanted)) if symbol in ("in", "not in") else wanted
                value = type(example)(self.levels[level].dictionary[index].as_py())
                if name == column and not _OPERATORS[symbol](value, wanted):
                    return False
        return True


class ParquetDataset:
    """A folder of Parquet files, or single files.

    Args:
        path_or_paths: The folder; or a file, or several.
        filesystem: A file system of fsspec or PyArrow.
        filters: Conditions on partitions, in disjunctive normal form: ``[(column, operator, value), ...]`` or a list of
            such lists.
        validate_schema: Has no effect: Petastorm never sets it.
        metadata_nthreads: Has no effect.

    Attributes:
        paths: As given.
        fs: The file system.
        pieces: The files.
        partitions: None for single files.
        common_metadata: Metadata of ``_common_metadata``, else of ``_metadata``; None if neither exists.
        metadata: Metadata of ``_metadata``; None if it does not exist.
        metadata_path: The file ``_metadata``.
    """

    def __init__(
        self,
        path_or_paths: str | list[str],
        filesystem: Any = None,
        filters: Any = None,
        validate_schema: bool = False,
        metadata_nthreads: int = 1,
    ) -> None:
        self.paths = path_or_paths
        self.fs = ArrowFSWrapper(filesystem) if isinstance(filesystem, FileSystem) else filesystem or LocalFileSystem()
        self.pieces: list[ParquetDatasetPiece] = []
        self.partitions: ParquetPartitions | None = None
        self.metadata_path: str | None = None
        self._common_metadata_path: str | None = None
        paths = path_or_paths if isinstance(path_or_paths, list) else [path_or_paths]
        if len(paths) == 1 and self.fs.isdir(paths[0]):
            if isinstance(self.fs, fsspec.AbstractFileSystem):
                self.fs.invalidate_cache()  # Spark may have written files since
            self.partitions = ParquetPartitions()
            self._visit(paths[0], [], self.partitions)
            self.pieces.sort(key=lambda piece: piece.path)
        else:
            for path in paths:
                if not self.fs.isfile(path):
                    raise OSError(f"{path} is not a file; expected a folder of Parquet files, or such files")
                self.pieces.append(ParquetDatasetPiece(path, self.fs.open))
        self.metadata = self._read_metadata(self.metadata_path)
        self.common_metadata = self._read_metadata(self._common_metadata_path) or self.metadata
        if filters is not None:
            accepted = list(self._accepted(filters))
            self.pieces = accepted

    @cached_property
    def schema(self) -> pq.ParquetSchema:
        """Return the schema that the files share."""
        return (self.common_metadata or self.pieces[0].get_metadata()).schema

    def _read_metadata(self, path: str | None) -> pq.FileMetaData | None:
        if path is None:
            return None
        with self.fs.open(path) as file:
            return pq.read_metadata(file)

    def _visit(self, folder: str, keys: list[tuple[str, int]], partitions: ParquetPartitions) -> None:
        _, folders, files = next(iter(self.fs.walk(folder)))
        for name in files:
            if name.endswith("_common_metadata"):
                self._common_metadata_path = f"{folder}/{name}"
            elif name.endswith("_metadata"):
                self.metadata_path = f"{folder}/{name}"
        files = sorted(name for name in files if not _is_hidden(name))
        folders = sorted(name for name in folders if not name.startswith(("_", ".")) or "=" in name)
        if files and folders:
            raise ValueError(f"{folder} has both Parquet files and folders; expected only one of them")
        for name in folders:
            column, equals, value = name.partition("=")
            if not equals:
                raise ValueError(f"{folder}/{name} is not a partition; expected folders named name=value")
            index = partitions.get_index(len(keys), column, value)
            self._visit(f"{folder}/{name}", [*keys, (column, index)], partitions)
        self.pieces += [ParquetDatasetPiece(f"{folder}/{name}", self.fs.open, None, keys) for name in files]

    def _accepted(self, filters: Any) -> Iterator[ParquetDatasetPiece]:
        alternatives = [filters] if filters and isinstance(filters[0][0], str) else filters
        for piece in self.pieces:
            if self.partitions is None or any(
                self.partitions.accept(piece.partition_keys, all_) for all_ in alternatives
            ):
                yield piece


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_")) or name.endswith((".crc", "_$folder$"))


class HadoopFileSystem:
    """Base class of Petastorm's client for several name nodes, which passes these calls on to a connection."""

    def open(self, path: str, mode: str = "rb") -> Any:
        """Open a file."""

    def exists(self, path: str) -> Any:
        """Return whether a path exists."""

    def isdir(self, path: str) -> Any:
        """Return whether a path is a folder."""

    def isfile(self, path: str) -> Any:
        """Return whether a path is a file."""

    def walk(self, path: str) -> Any:
        """Walk a folder like ``os.walk``."""

    def ls(self, path: str) -> Any:
        """List a folder."""

    def rm(self, path: str, recursive: bool = False) -> Any:
        """Remove a file or folder."""

    def delete(self, path: str, recursive: bool = False) -> Any:
        """Remove a file or folder."""

    def mkdir(self, path: str) -> Any:
        """Create a folder."""


def connect_to_hdfs(host: str = "default", port: int = 0, user: str | None = None) -> Any:
    """Connect through PyArrow's libhdfs (which needs Hadoop's native library and Java on this machine)."""
    from fsspec.implementations.arrow import HadoopFileSystem as Connected

    return Connected(host=host, port=port, user=user)
