"""The raw codec: what Petastorm's ``NdarrayCodec`` stores, for many images at once.

``NdarrayCodec`` stores each array as a ``.npy`` file (NumPy format 1.0). Its header has the same bytes for every
array of one shape and dtype, so a column of images is one matrix with constant rows: written and read with no work
per image. https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import functools
import io

import numpy as np
import pyarrow as pa


@functools.cache
def header(shape: tuple[int, ...], dtype: str = "uint8") -> bytes:
    """The ``.npy`` header of an array of this shape and dtype."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(shape, dtype))
    return buffer.getvalue()[: -int(np.prod(shape)) * np.dtype(dtype).itemsize]


def encode(images: np.ndarray) -> pa.Array:
    """Encode images as a binary column.

    Args:
        images: uint8 (N, H, W, C).

    Returns:
        Binary Arrow array of N values, each a ``.npy`` file.
    """
    prefix = np.frombuffer(header(images.shape[1:]), np.uint8)
    rows = np.empty((len(images), len(prefix) + images[0].size), np.uint8)
    rows[:, : len(prefix)] = prefix
    rows[:, len(prefix) :] = images.reshape(len(images), -1)
    offsets = np.arange(len(images) + 1, dtype=np.int64) * rows.shape[1]
    if offsets[-1] >= 2**31:
        raise ValueError(f"a row group of {offsets[-1]:,} bytes is past Arrow's 2 GiB limit for a binary column")
    return pa.Array.from_buffers(
        pa.binary(), len(images), [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(rows)]
    )


def view(column: pa.ChunkedArray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """View an encoded column as images, without copying.

    Args:
        column: What ``encode`` made, as read back from Parquet.
        shape: (H, W, C) of each image.

    Returns:
        One uint8 array (n, H, W, C) per chunk; together all rows in order.

    Raises:
        ValueError: The column does not hold arrays of this shape.
    """
    prefix = np.frombuffer(header(shape), np.uint8)
    stride = len(prefix) + int(np.prod(shape))
    images = []
    for chunk in column.chunks:
        _, offset_buffer, data = chunk.buffers()
        offsets = np.frombuffer(offset_buffer, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        if len(chunk) and not (np.diff(offsets) == stride).all():
            raise ValueError(f"the image column does not hold arrays of shape {shape}")
        rows = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]].reshape(len(chunk), stride)
        if len(chunk) and not (rows[0, : len(prefix)] == prefix).all():
            raise ValueError(f"the image column does not hold uint8 arrays of shape {shape}")
        images.append(rows[:, len(prefix) :].reshape(len(chunk), *shape))
    return images
