"""A column of images, in any form that a DataFrame can hold, converted to samples for the network."""

import math
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

import numpy as np
import pyarrow as pa

from convoy.dataset.reading.buffers import Buffers
from convoy.dataset.sources.paths import read_file
from convoy.dataset.sources.table import encoded_struct
from convoy.dataset.storage import raw
from convoy.images import (
    ArraySpec,
    BadImage,
    Geometry,
    check_array,
    decode_text,
    is_base64,
    is_image_text,
    prepare_measured,
    transposition,
)

Kind = Literal["bytes", "path", "file", "struct", "array"]
"""Kinds of columns: encoded files, their paths or their text in base64, Hugging Face's structs of bytes and path,
Spark's image structs, or arrays of numbers."""

_READERS = 4
"""Minimum of threads that read files: they wait for a disk or a network more than they compute."""
_TASKS = 4  # per thread and batch, so that all threads end at about the same time


@dataclass
class Samples:
    """Samples that threads may still be writing.

    Attributes:
        images: (N, ...) of the network's shape and dtype; zero for rows with an error.
        errors: Row -> why it cannot be scored.
        sizes: int32 (N, 2), original height and width of the images; None if they are stored in the network's geometry.
    """

    images: np.ndarray
    errors: dict[int, str] = field(default_factory=dict)
    sizes: np.ndarray | None = None
    futures: list[Future[None]] = field(default_factory=list)

    def wait(self) -> "Samples":
        """Wait for the threads; return the object itself."""
        for future in self.futures:
            future.result()
        self.futures.clear()
        return self


class Sampler:
    """Threads that convert Arrow columns to samples.

    Args:
        kind: Kind of the columns.
        geometry: Target geometry of images; None if the samples are arrays.
        spec: Shape and type of a sample.
        threads: Number of decoding threads.
    """

    def __init__(self, kind: Kind, geometry: Geometry | None, spec: ArraySpec, threads: int) -> None:
        self._kind, self._geometry, self._spec = kind, geometry, spec
        self._threads = max(threads, _READERS) if kind in ("path", "file") else threads
        self._pool = ThreadPoolExecutor(self._threads, "decode")
        self._buffers = Buffers()

    def start(self, column: pa.Array) -> Samples:
        """Start to convert a column to samples; one that cannot be used gets an error, and nothing is raised."""
        if self._kind == "array":
            return arrays(column, self._spec)
        if self._kind == "bytes" and (images := _views(column, self._spec)) is not None:
            samples = Samples(images)
            _refuse_not_finite(samples, self._spec)
            return samples
        payload = _PAYLOADS[self._kind]
        samples = Samples(self._buffers.empty((len(column), *self._spec.shape), self._spec.dtype))
        if self._geometry is not None:
            samples.sizes = np.zeros((len(column), 2), np.int32)
        size = -(-len(column) // (_TASKS * self._threads)) or 1
        for at in range(0, len(column), size):
            rows = range(at, min(at + size, len(column)))
            samples.futures.append(self._pool.submit(self._fill, column, rows, payload, samples))
        return samples

    def _fill(self, column: pa.Array, rows: range, payload: Callable[[pa.Scalar], bytes], samples: Samples) -> None:
        for row in rows:
            try:
                self._take(payload(column[row]), row, samples)
            except BadImage as problem:
                samples.errors[row] = str(problem)
            except OSError as problem:
                samples.errors[row] = f"unreadable: {problem.strerror or problem}"
            except MemoryError:
                samples.errors[row] = "too_large: it does not fit into memory"
            if row in samples.errors:
                samples.images[row] = 0

    def _take(self, content: bytes, row: int, samples: Samples) -> None:
        if self._geometry is None:
            samples.images[row] = self._array(content)
            return
        assert samples.sizes is not None
        samples.images[row], samples.sizes[row] = prepare_measured(content, self._geometry)

    def _array(self, content: bytes) -> np.ndarray:
        spec = self._spec
        prefix = raw.header(spec.shape, spec.dtype)
        if not content:
            raise BadImage("empty", "there are no bytes")
        if not content.startswith(prefix) or len(content) != len(prefix) + spec.nbytes:
            raise BadImage("size", f"{len(content):,} bytes that are not a .npy of {spec}")
        return check_array(np.frombuffer(content, spec.dtype, offset=len(prefix)).reshape(spec.shape), spec)

    def __enter__(self) -> "Sampler":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)


def _content(value: pa.Scalar) -> bytes:
    if not value.is_valid:
        raise BadImage("empty", "the image is null")
    return bytes(value.as_py())


def _file(value: pa.Scalar) -> bytes:
    """Return the bytes of the file that a text names or, as base64 or a data URI, contains."""
    if not value.is_valid:
        raise BadImage("empty", "the path is null")
    try:
        text = value.as_py()
    except UnicodeDecodeError:
        raise OSError("the path is not UTF-8") from None
    if is_image_text(text):
        return decode_text(text)
    try:
        return read_file(os.path.expanduser(text))
    except OSError:
        if is_base64(text) and "/" not in text:  # with it, it may well be a path
            raise BadImage(
                "not_an_image", f"no file has this name; as base64 it is not an image: {text[:40]!r}"
            ) from None
        raise


def _file_struct(value: pa.Scalar) -> bytes:
    """Return the ``bytes`` of a struct, or those of the file at its ``path`` if they are null."""
    if not value.is_valid:
        raise BadImage("empty", "the image is null")
    fields = dict(value.items())
    if fields["bytes"].is_valid or "path" not in fields:
        return _content(fields["bytes"])
    return _file(fields["path"])


def _pixels(value: pa.Scalar) -> bytes:
    if not value.is_valid:
        raise BadImage("empty", "the image is null")
    return encoded_struct(dict(value.items()))


_PAYLOADS: dict[Kind, Callable[[pa.Scalar], bytes]] = {
    "bytes": _content,
    "path": _file,
    "file": _file_struct,
    "struct": _pixels,
}


def _views(column: pa.Array, spec: ArraySpec) -> np.ndarray | None:
    """Return the samples of a column of ``.npy`` files of this shape and type, without a copy; else None."""
    if column.null_count or not len(column):
        return None
    prefix = np.frombuffer(raw.header(spec.shape, spec.dtype), np.uint8)
    _, offsets, data = column.buffers()
    width = np.int64 if pa.types.is_large_binary(column.type) else np.int32
    ends = np.frombuffer(offsets, width)[column.offset : column.offset + len(column) + 1]
    stride = len(prefix) + spec.nbytes
    if ends[-1] - ends[0] != stride * len(column) or (np.diff(ends) != stride).any():
        return None
    rows = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]].reshape(len(column), stride)
    if (rows[:, : len(prefix)] != prefix).any():
        return None
    return rows[:, len(prefix) :].view(spec.dtype).reshape(len(column), *spec.shape)


def arrays(column: pa.Array, spec: ArraySpec) -> Samples:
    """Convert lists of numbers, flat or nested like the shape, to samples, all rows at once.

    A row gets an error if it has another shape, a null, or a value that the sample's type cannot hold.
    """
    samples = Samples(np.zeros((len(column), *spec.shape), spec.dtype))
    good = column.is_valid().to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(~good):
        samples.errors[int(row)] = "empty: the array is null"
    depth = _depth(column.type)
    lengths = spec.shape[:depth] if depth > 1 else (math.prod(spec.shape),)
    level, owner = column.filter(pa.array(good)), np.flatnonzero(good)  # owner: the row of each list of this level
    wrong = np.zeros(len(column), bool)
    counts = []
    for length in lengths:
        found = level.value_lengths().fill_null(-1).to_numpy()
        wrong[owner[found != length]] = True
        counts.append(found)
        owner, level = np.repeat(owner, np.maximum(found, 0)), level.flatten()
    values, holes = _numbers(level)
    wrong[owner[holes]] = True
    for row in np.flatnonzero(wrong):
        hint = transposition(_shape(column[int(row)]), spec)
        samples.errors[int(row)] = f"size: not {lengths if depth > 1 else lengths[0]} numbers, {spec} expected{hint}"
    whole = good & ~wrong
    values = values[~wrong[owner]].reshape(int(whole.sum()), math.prod(spec.shape))
    rows = np.flatnonzero(whole)
    if np.dtype(spec.dtype).kind in "ui":
        limits = np.iinfo(spec.dtype)
        fits = ((values >= limits.min) & (values <= limits.max)).all(axis=1)
        if values.dtype.kind == "f":
            fits &= (values == np.floor(values)).all(axis=1)
        for row in rows[~fits]:
            samples.errors[int(row)] = f"size: a value that is not a whole number from {limits.min} to {limits.max}"
        rows, values = rows[fits], values[fits]
    with np.errstate(over="ignore"):  # values that become infinite get an error
        samples.images[rows] = values.astype(spec.dtype).reshape(len(rows), *spec.shape)
    _refuse_not_finite(samples, spec)
    return samples


def _numbers(level: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the values, and where they are null."""
    holes = level.is_null().to_numpy(zero_copy_only=False)
    return (level.fill_null(0) if level.null_count else level).to_numpy(zero_copy_only=False), holes


def _shape(value: pa.ListScalar) -> tuple[int, ...]:
    """Return the length of a nested list and of the first list at each level below."""
    shape, level = [], value
    while isinstance(level, pa.ListScalar) and level.is_valid:  # also large lists
        shape.append(len(level))
        level = level[0] if len(level) else None
    return tuple(shape)


def _depth(kind: pa.DataType) -> int:
    return 1 + _depth(kind.value_type) if pa.types.is_list(kind) or pa.types.is_large_list(kind) else 0


def _refuse_not_finite(samples: Samples, spec: ArraySpec) -> None:
    if np.dtype(spec.dtype).kind != "f" or not len(samples.images):
        return
    limit = np.finfo(np.float32).max
    flat = samples.images.reshape(len(samples.images), -1)
    bad = np.flatnonzero(~((flat >= -limit) & (flat <= limit)).all(axis=1))
    if len(bad):
        samples.images = samples.images.copy()  # a view of Arrow's memory is read-only
    for row in bad:
        try:
            check_array(samples.images[row], spec)
        except BadImage as problem:
            samples.errors[int(row)] = str(problem)
        samples.images[row] = 0
