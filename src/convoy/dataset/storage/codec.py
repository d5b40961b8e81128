"""Encoding of images to values of the stored column ``image``, and decoding.

``raw`` values are what Petastorm's ``NdarrayCodec`` stores (see ``raw``); ``png``, ``jpeg`` and ``keep`` values are
encoded files, which its ``CompressedImageCodec`` reads.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from convoy.config import StorageConfig
from convoy.dataset.storage import raw
from convoy.images import Geometry, decode, encode_jpeg, encode_png, fits, identify


def encode_column(
    images: np.ndarray, payloads: Sequence[bytes | np.ndarray], storage: StorageConfig, geometry: Geometry | None
) -> pa.Array:
    """Encode images as a binary column.

    Args:
        images: uint8 (N, H, W, C), prepared; or, with ``raw``, arrays (N, ...) of any numeric dtype.
        payloads: The original bytes of each image; codec ``keep`` stores them if possible. Empty bytes are not stored.
        storage: Codec and quality.
        geometry: Geometry of the images; None for arrays.
    """
    if storage.codec == "raw":
        return raw.encode(images)
    if storage.codec == "jpeg":
        return pa.array([encode_jpeg(image, storage.jpeg_quality) for image in images], pa.binary())
    if storage.codec == "png":
        return pa.array([encode_png(image) for image in images], pa.binary())
    values = [
        payload
        if isinstance(payload, bytes) and payload and geometry and fits(identify(payload), geometry)
        else encode_png(image)
        for image, payload in zip(images, payloads, strict=True)
    ]
    return pa.array(values, pa.binary())


def decode_column(
    column: pa.ChunkedArray, codec: str, shape: tuple[int, ...], dtype: str = "uint8"
) -> list[np.ndarray]:
    """Decode a stored column.

    Args:
        column: As read from Parquet.
        codec: The manifest's codec.
        shape: (H, W, C) of each image, or the shape of each array.
        dtype: Type of the values; types other than uint8 are stored as ``raw``.

    Returns:
        Arrays (n, *shape) of that dtype, together all rows in order; with ``raw`` views of the column.

    Raises:
        ValueError: The column does not hold images of this shape.
    """
    if codec == "raw":
        return raw.view(column, shape, dtype)
    images = [decode(value.as_py(), shape[2]) for value in column]
    if any(image.shape != shape for image in images):
        raise ValueError(f"the image column does not hold images of shape {shape}")
    return [np.stack(images)] if images else []
