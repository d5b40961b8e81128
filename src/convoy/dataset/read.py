"""A split of a dataset -> arrays in memory."""

from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq

from convoy.dataset.codec import decode_column
from convoy.dataset.decoding import Decoder
from convoy.dataset.files import SplitFiles
from convoy.dataset.manifest import Manifest
from convoy.errors import DatasetError


@dataclass(frozen=True)
class SplitArrays:
    """A whole split in memory, in the order of its files.

    Attributes:
        images: uint8 (N, H, W, C), or arrays (N, ...) of the manifest's dtype.
        labels: int32 (N,).
        weights: float32 (N,), of each sample in the loss; None where the dataset has none.
    """

    images: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


def read_split(version_path: Path, manifest: Manifest, split: str, threads: int = 4) -> SplitArrays:
    """Read a split's images and labels, row group by row group; encoded images are decoded in threads.

    Raises:
        DatasetError: No such split, more bytes than there is free memory, or files that do not match the manifest.
    """
    rows = manifest.split(split).rows
    needed, free = rows * manifest.spec.nbytes, psutil.virtual_memory().available
    if needed > 0.8 * free:
        raise DatasetError(
            f"split {split!r} takes {needed / 2**30:.1f} GiB in memory, {free / 2**30:.1f} GiB are free on this"
            " machine; set training.cache to none, which reads it from its files in every epoch, or use smaller images"
        )
    files = SplitFiles(version_path, manifest, split)
    if files.rows != rows:
        raise DatasetError(f"{version_path / split} holds {files.rows} rows, the manifest says {rows}; ingest again")
    labels, weights = files.targets()
    images = np.empty((rows, *manifest.shape), manifest.dtype)
    with closing(Decoder(files, threads)) as decoder:
        decoding: list[Future[None]] = []
        for group in files.groups:
            part = slice(group.first, group.first + group.rows)
            if manifest.codec == "raw":
                images[part] = files.raw_images(group)
                continue
            # The next row group is read while this one is decoded.
            values = files.encoded_images(group)
            for future in decoding:
                future.result()
            decoding = decoder.start(values, np.arange(part.start, part.stop), images[part])
        for future in decoding:
            future.result()
    return SplitArrays(images, labels, weights)


def read_examples(version_path: Path, manifest: Manifest, split: str, count: int = 4) -> np.ndarray:
    """Return the first images of a split (count or fewer, H, W, C), or arrays (count or fewer, ...)."""
    file = pq.ParquetFile(version_path / split / manifest.split(split).files[0].name)
    table = file.read_row_group(0, columns=["image"]).slice(0, count)
    return np.concatenate(decode_column(table.column("image"), manifest.codec, manifest.shape, dtype=manifest.dtype))
