"""Row groups of Parquet files in an object store: exact ranges, a cache on the local disk, checks against the manifest.

Opening a file this way costs one request for its footer, and a row group one for its images.
"""

import functools
import io
import os
import threading
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from convoy.dataset.reading.block_cache import BlockCache
from convoy.dataset.storage.object_path import ObjectFile, ObjectPath

_FOOTER = 1 << 16  # most footers are smaller
_GAP = 1 << 16  # bytes between two columns that are read with them, to save a request
_MAGIC = b"PAR1"


class Block(NamedTuple):
    """A part of a file: its first byte's position, and its bytes."""

    start: int
    content: bytes


class RemoteParquet:
    """A Parquet file in an object store, which must not change.

    Args:
        path: The file.
        size: Its size in bytes, from the manifest.
        sha256: Its checksum, from the manifest, which identifies the content in the cache.
    """

    def __init__(self, path: ObjectPath, size: int, sha256: str) -> None:
        self._path, self._size, self._sha256 = path, size, sha256
        self._lock = threading.Lock()
        self._file: ObjectFile | None = None
        self._footer: pq.FileMetaData | None = None

    @property
    def footer(self) -> pq.FileMetaData:
        """Return the file's metadata; read once.

        Raises:
            OSError: It cannot be read.
            ValueError: It has another size than in the manifest.
        """
        with self._lock:
            if self._footer is None:
                start = max(0, self._size - _FOOTER)
                known = cache().get(self._key(start, self._size), self._size - start)
                tail = known or self._opened().read_at(start, self._size)
                needed = int.from_bytes(tail[-8:-4], "little") + 8
                if tail[-4:] != _MAGIC or needed > self._size:
                    self._file = None  # it may be replaced by a whole one
                    raise ValueError("it is not a Parquet file")
                if needed > len(tail):
                    tail = self._read(self._size - needed, self._size)
                self._footer = pq.read_metadata(_Blocks(self._size, [Block(self._size - len(tail), tail)]))
                if known is None and len(tail) == self._size - start:  # not before: a damaged one is not kept
                    cache().put(self._key(start, self._size), tail)
            return self._footer

    def fetch(self, group: int, columns: Sequence[str]) -> list[Block]:
        """Read the stored bytes of some columns of a row group; several threads may call it."""
        return [Block(start, self._read(start, stop)) for start, stop in self._ranges(group, columns)]

    def table(self, group: int, columns: Sequence[str], blocks: Sequence[Block] | None = None) -> pa.Table:
        """Return some columns of a row group.

        Args:
            group: Number of the row group.
            columns: Names of the columns.
            blocks: What ``fetch`` returned for them; None fetches them now.
        """
        source = _Blocks(self._size, self.fetch(group, columns) if blocks is None else blocks)
        file = pq.ParquetFile(source, metadata=self.footer, pre_buffer=False)
        return file.read_row_group(group, columns=list(columns))

    def _ranges(self, group: int, columns: Sequence[str]) -> list[tuple[int, int]]:
        """Return (first byte, byte behind the last) of the columns, those nearby as one."""
        stored = self.footer.row_group(group)
        found = []
        for index in range(stored.num_columns):
            chunk = stored.column(index)
            if chunk.path_in_schema in columns:
                start = chunk.data_page_offset
                if chunk.dictionary_page_offset is not None:
                    start = min(start, chunk.dictionary_page_offset)
                found.append((start, start + chunk.total_compressed_size))
        merged: list[tuple[int, int]] = []
        for start, stop in sorted(found):
            if merged and start - merged[-1][1] <= _GAP:
                merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
            else:
                merged.append((start, stop))
        return merged

    def _read(self, start: int, stop: int) -> bytes:
        key = self._key(start, stop)
        content = cache().get(key, stop - start)
        if content is None:
            content = self._opened().read_at(start, stop)
            cache().put(key, content)
        return content

    def _key(self, start: int, stop: int) -> str:
        return f"{self._sha256} {self._path} {start} {stop}"

    def _opened(self) -> ObjectFile:
        if self._file is None:
            file = self._path.open()
            if file.size != self._size:
                raise ValueError(f"it has {file.size:,} bytes, the manifest says {self._size:,}")
            self._file = file
        return self._file


class _Blocks(io.RawIOBase):
    """A file of which only some parts are present."""

    def __init__(self, size: int, blocks: Sequence[Block]) -> None:
        super().__init__()
        self._size, self._blocks, self._place = size, blocks, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        stop = self._size if size is None or size < 0 else min(self._size, self._place + size)
        for start, content in self._blocks:
            if start <= self._place and stop <= start + len(content):
                part = content if (start, start + len(content)) == (self._place, stop) else None
                part = content[self._place - start : stop - start] if part is None else part
                self._place = stop
                return part
        raise OSError(f"bytes {self._place} to {stop} were not read")


@functools.cache
def cache() -> BlockCache:
    """Return this process's view of the cache."""
    return BlockCache()


@functools.lru_cache(maxsize=1 << 15)
def remote_parquet(path: ObjectPath, size: int, sha256: str) -> RemoteParquet:
    """Return the file of that content; its footer is read once in a process."""
    return RemoteParquet(path, size, sha256)
