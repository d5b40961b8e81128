"""The raw codec: equal to what Petastorm's ``NdarrayCodec`` stores, for many images at once.

``NdarrayCodec`` stores each array as a ``.npy`` file (NumPy format 1.0). Its header has the same bytes for every
array of one shape and dtype, so a column of images is one matrix with constant rows, which is written and read without
a step per image. https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import functools
import io
import math

import numpy as np
import pyarrow as pa

MAX_BYTES = 2**31
"""A row group stays below this size (see ``layout``): offsets in Arrow's binary columns have 32 bits."""


@functools.cache
def header(shape: tuple[int, ...], dtype: str = "uint8") -> bytes:
    """Return the ``.npy`` header of a row-major array of this shape and dtype."""
    buffer = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


def encode(images: np.ndarray) -> pa.Array:
    """Encode samples as a binary column.

    Args:
        images: (N, ...) of any numeric dtype.

    Returns:
        Binary Arrow array of N values, each a ``.npy`` file.
    """
    prefix = np.frombuffer(header(images.shape[1:], images.dtype.name), np.uint8)
    values = np.ascontiguousarray(images, images.dtype.newbyteorder("=")).reshape(len(images), -1).view(np.uint8)
    rows = np.empty((len(images), len(prefix) + values.shape[1]), np.uint8)
    rows[:, : len(prefix)] = prefix
    rows[:, len(prefix) :] = values
    offsets = np.arange(len(images) + 1, dtype=np.int64) * rows.shape[1]
    if offsets[-1] >= MAX_BYTES:
        raise ValueError(f"a row group of {offsets[-1]:,} bytes exceeds Arrow's limit of 2 GiB for a binary column")
    return pa.Array.from_buffers(
        pa.binary(), len(images), [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(rows)]
    )


def view(column: pa.ChunkedArray, shape: tuple[int, ...], dtype: str = "uint8") -> list[np.ndarray]:
    """Return an encoded column as samples, without copying.

    Args:
        column: Result of ``encode``, as read back from Parquet.
        shape: Shape of each sample.
        dtype: Type of its values.

    Returns:
        One array (n, *shape) per chunk; together all rows in order.

    Raises:
        ValueError: The column does not hold arrays of this shape and dtype.
    """
    prefix = np.frombuffer(header(shape, dtype), np.uint8)
    stride = len(prefix) + math.prod(shape) * np.dtype(dtype).itemsize
    images = []
    for chunk in column.chunks:
        _, offset_buffer, data = chunk.buffers()
        offsets = np.frombuffer(offset_buffer, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        if len(chunk) and not (np.diff(offsets) == stride).all():
            raise ValueError(f"the image column does not hold arrays of shape {shape}")
        rows = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]].reshape(len(chunk), stride)
        if len(chunk) and not (rows[0, : len(prefix)] == prefix).all():
            raise ValueError(f"the image column does not hold {dtype} arrays of shape {shape}")
        images.append(rows[:, len(prefix) :].view(dtype).reshape(len(chunk), *shape))
    return images
