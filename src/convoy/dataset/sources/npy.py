"""Arrays in ``.npy`` and ``.npz`` files: described by their headers, memory-mapped if they are not compressed."""

import functools
import math
import os
import stat
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO

import numpy as np

from convoy.errors import SourceError

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_ZIP_LOCAL_HEADER = 30


@dataclass(frozen=True)
class StoredArray:
    """An array in a file.

    Attributes:
        file: The file.
        changed: Time of the last change, in ns: after a change it is a different array.
        member: Its member of the archive if that is compressed, else None.
        offset: Position of the values in the file, or in the unpacked member.
        shape: Its shape.
        dtype: Its type, as NumPy writes it.
        fortran: True for column-major order.
    """

    file: str
    changed: int
    member: str | None
    offset: int
    shape: tuple[int, ...]
    dtype: str
    fortran: bool


def stored_arrays(path: str) -> dict[str, StoredArray]:
    """Describe the arrays of an ``.npz`` file, or of the ``.npy`` files in a folder, by name; none is loaded.

    Raises:
        SourceError: A file cannot be read, holds pickled objects, or its header contradicts its size.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            return _npz(path, found.st_mtime_ns, found.st_size)
        arrays = {}
        for name in sorted(os.listdir(path)):
            if name.endswith(".npy") and not name.startswith("."):
                found = os.stat(file := os.path.join(path, name))
                arrays[name.removesuffix(".npy")] = _npy(file, found.st_mtime_ns, found.st_size)
        return arrays
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        reason = (
            error.strerror
            if isinstance(error, OSError) and error.strerror
            else (str(error) or type(error).__name__).splitlines()[0]
        )
        raise SourceError(f"{path!r} cannot be read ({reason}); expected an .npz file or .npy files") from None


@functools.lru_cache(maxsize=8)
def load(array: StoredArray) -> np.ndarray:
    """Return the array: mapped, or read if it is compressed; once per process for each state of the file."""
    if array.member is not None:
        with np.load(array.file, allow_pickle=False) as members:
            return members[array.member]
    return np.memmap(array.file, array.dtype, "r", array.offset, array.shape, "F" if array.fortran else "C")


@functools.lru_cache(maxsize=64)  # a worker calls this for every image
def _npy(path: str, changed: int, size: int) -> StoredArray:
    with open(path, "rb") as file:
        return _described(file, path, changed, None, 0, size, path)


@functools.lru_cache(maxsize=2)
def _npz(path: str, changed: int, size: int) -> dict[str, StoredArray]:
    arrays = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            name, label = info.filename.removesuffix(".npy"), f"{path}, array {info.filename.removesuffix('.npy')!r}"
            if info.compress_type == zipfile.ZIP_STORED:
                file.seek(info.header_offset)
                local = file.read(_ZIP_LOCAL_HEADER)
                # The lengths of name and extra field in the local header may differ from those in the directory.
                start = (
                    info.header_offset
                    + _ZIP_LOCAL_HEADER
                    + sum(int.from_bytes(local[i : i + 2], "little") for i in (26, 28))
                )
                arrays[name] = _described(file, path, changed, None, start, info.file_size, label)
            else:
                with archive.open(info) as member:
                    arrays[name] = _described(member, path, changed, name, 0, info.file_size, label)
    return arrays


def _described(
    file: IO[bytes], path: str, changed: int, member: str | None, start: int, size: int, label: str
) -> StoredArray:
    """Read the header at ``start`` and compare it with the size of the data."""
    if member is None:
        file.seek(start)
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"version {version[0]}.{version[1]} of the .npy format is not supported")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise SourceError(f"{label} holds pickled Python objects, which are not loaded; save it as numbers or strings")
    offset = file.tell() - (0 if member else start)
    expected = offset + math.prod(shape) * dtype.itemsize
    if size != expected:
        raise SourceError(
            f"{label} declares {dtype} of shape {shape}, {expected:,} bytes, but has {size:,}; the file is"
            " damaged or its header is wrong: write it again"
        )
    return StoredArray(path, changed, member, start + offset, shape, dtype.str, fortran)
