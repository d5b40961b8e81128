"""A folder with the original files of MNIST (also Fashion-MNIST and Kuzushiji-MNIST), gzipped or not.

The format is described at the end of http://yann.lecun.com/exdb/mnist: two zero bytes, the type of the values, the
number of dimensions, the dimensions as big-endian 32-bit integers, then the values.
"""

import functools
import gzip
import math
import os
import zlib
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from convoy.config.locations import absolute
from convoy.dataset.sources.indexed import IndexedSource, Part
from convoy.errors import SourceError

_SPLITS = {"train": "train", "t10k": "test"}
_KINDS = {"images": 3, "labels": 1}
"""Kind of file -> its number of dimensions."""
_UINT8 = 8
_CHUNK = 1 << 20


@dataclass(frozen=True)
class IdxSource(IndexedSource):
    """``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and optionally ``t10k-*``, each with or without ``.gz``.

    Attributes:
        path: The folder.
    """

    path: str

    def parts(self) -> list[Part]:
        """Return ``train`` and ``test``, from the headers."""
        folder = absolute(self.path)
        if not os.path.isdir(folder):
            what = "is a file" if os.path.exists(folder) else "does not exist"
            raise SourceError(f"source.path {self.path!r} {what}; expected the folder of MNIST's files")
        parts = []
        for prefix, split in _SPLITS.items():
            files = {kind: self._file(prefix, kind) for kind in _KINDS}
            if not any(files.values()) and prefix != "train":
                continue
            rows = {}
            for kind, file in files.items():
                if file is None:
                    raise SourceError(
                        f"source.path {self.path!r} has no {_name(prefix, kind)}, with or without .gz; expected"
                        f" {' and '.join(_name(prefix, kind) for kind in _KINDS)}"
                    )
                rows[kind] = _header(file, kind)[0]
            if rows["images"] != rows["labels"]:
                raise SourceError(
                    f"{files['images']} has {rows['images']:,} images, {files['labels']} has {rows['labels']:,} labels;"
                    " expected equal numbers: do they belong to one collection?"
                )
            parts.append(Part(split, split, rows["images"]))
        return parts

    def check(self) -> None:
        """Raise ``SourceError`` for missing files, and for headers that contradict each other or the files' sizes."""
        for part in self.parts():
            for kind in _KINDS:
                _check_size(self._of_part(part.name, kind), kind)
        super().check()

    def images(self, part: str) -> np.ndarray:
        """Return uint8 (N, H, W)."""
        return _open(self._of_part(part, "images"), "images")

    def labels(self, part: str) -> np.ndarray:
        """Return uint8 (N,)."""
        return _open(self._of_part(part, "labels"), "labels")

    def describe(self) -> dict[str, Any]:
        """Return kind and absolute path."""
        return {"kind": "idx", "path": absolute(self.path)}

    def _of_part(self, part: str, kind: str) -> str:
        prefix = next(prefix for prefix, split in _SPLITS.items() if split == part)
        file = self._file(prefix, kind)
        if file is None:
            raise FileNotFoundError(f"{_name(prefix, kind)} is missing from {self.path}")
        return file

    def _file(self, prefix: str, kind: str) -> str | None:
        """Return the file of that kind, in any of its spellings."""
        name = _name(prefix, kind)
        dotted = name.replace("-idx", ".idx")
        paths = (
            os.path.join(absolute(self.path), spelling) for spelling in (name, dotted, f"{name}.gz", f"{dotted}.gz")
        )
        return next((path for path in paths if os.path.isfile(path)), None)


def _name(prefix: str, kind: str) -> str:
    return f"{prefix}-{kind}-idx{_KINDS[kind]}-ubyte"


def _stream(path: str) -> IO[bytes]:
    return gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")  # type: ignore[return-value]


def _header(path: str, kind: str) -> tuple[int, ...]:
    """Return the dimensions that the file's header declares."""
    rank = _KINDS[kind]
    try:
        with _stream(path) as file:
            header = file.read(4 + 4 * rank)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path} cannot be read ({error}); download it again, or fix its permissions") from None
    expected = bytes([0, 0, _UINT8, rank])
    if header[:4] != expected or len(header) < 4 + 4 * rank:
        raise SourceError(
            f"{path} begins with {header[:4].hex(' ') or 'nothing'}; an IDX file of {kind} (uint8, {rank} dimensions)"
            f" begins with {expected.hex(' ')} and its dimensions"
        )
    shape = tuple(int.from_bytes(header[i : i + 4], "big") for i in range(4, len(header), 4))
    if not all(shape):
        raise SourceError(f"{path} declares {_shown(shape)} {kind}; expected at least one")
    return shape


def _check_size(path: str, kind: str) -> None:
    """Compare the header with the size of the file; a gzipped file is decompressed for it, 1 MiB at a time."""
    shape = _header(path, kind)
    expected = 4 + 4 * len(shape) + math.prod(shape)
    there = os.path.getsize(path)
    if path.endswith(".gz"):
        there = 0
        try:
            with _stream(path) as file:
                while there <= expected and (chunk := file.read(_CHUNK)):
                    there += len(chunk)
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"{path} cannot be unpacked ({error}); download it again") from None
    if there != expected:
        more = "more than " if there > expected and path.endswith(".gz") else ""
        raise SourceError(
            f"{path} declares {_shown(shape)} {kind}, {expected:,} bytes, but has {more}"
            f"{min(there, expected) if more else there:,}; the file is damaged or has a wrong header: download it again"
        )


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in shape)


def _open(path: str, kind: str) -> np.ndarray:
    found = os.stat(path)
    return _load(path, kind, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=4)
def _load(path: str, kind: str, changed: int, size: int) -> np.ndarray:
    """Return the file's values: mapped, or unpacked to memory. It may have changed since the driver checked it."""
    try:
        shape = _header(path, kind)
        offset = 4 + 4 * len(shape)
        if not path.endswith(".gz"):
            return np.memmap(path, np.uint8, "r", offset, shape)
        values = np.empty(shape, np.uint8)  # pages that are never written take no memory
        with gzip.open(path, "rb") as file:
            file.read(offset)
            view, done = memoryview(values.reshape(-1).data), 0
            while count := file.readinto(view[done : done + _CHUNK]):
                done += count
            if done != values.size or file.read(1):
                raise ValueError("its header is wrong")
    except (SourceError, ValueError, EOFError, zlib.error) as error:
        raise OSError(f"{path}: {error}") from None
    return values
