"""A split of a dataset as arrays in memory."""

from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from convoy.cluster.memory import memory
from convoy.dataset.reading.decode_pool import Decoder
from convoy.dataset.reading.split_files import SplitFiles, damage_named
from convoy.dataset.storage.codec import decode_column
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import DatasetError

_EXAMPLES = 4


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


def read_split(version_path: Location, manifest: Manifest, split: str, threads: int = 4) -> SplitArrays:
    """Read a split's images and labels, row group by row group; encoded images are decoded in threads.

    Raises:
        DatasetError: There is no such split, it is larger than the free memory, or files do not match the manifest.
    """
    rows = manifest.split(split).rows
    needed, free = rows * manifest.spec.nbytes, memory().share(1)
    if needed > 0.8 * free:
        raise DatasetError(
            f"split {split!r} takes {needed / 2**30:.1f} GiB in memory, {free / 2**30:.1f} GiB are free on this"
            " machine or in its container; set training.cache to none, which reads it from its files in every epoch, or"
            " use smaller images"
        )
    files = SplitFiles(version_path, manifest, split)
    if files.rows != rows:
        raise DatasetError(f"{version_path / split} holds {files.rows} rows, the manifest says {rows}; ingest again")
    labels, weights = files.targets()
    images = np.empty((rows, *manifest.shape), manifest.dtype)
    with closing(Decoder(files, threads)) as decoder:
        decoding: list[Future[None]] = []
        for group in files.read_ahead(files.groups):
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


@dataclass(frozen=True)
class Samples:
    """Some samples of a split.

    Attributes:
        rows: int64 (n,), their numbers in the split.
        images: uint8 (n, H, W, C), or arrays (n, ...) of the manifest's dtype.
        labels: int32 (n,).
        paths: Path of each in the source.
        classes: Names of the dataset's classes; a label is an index into them.
    """

    rows: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    paths: list[str]
    classes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)


def read_samples(version_path: Location, manifest: Manifest, split: str, rows: np.ndarray) -> Samples:
    """Read single samples by their numbers in the split's stored order, with their paths.

    Args:
        version_path: Folder of the version.
        manifest: Manifest of the version.
        split: Name of the split.
        rows: int (n,), each less than the split's rows; the samples are returned in this order.

    Raises:
        DatasetError: There is no such split, or files cannot be read.
    """
    rows = np.asarray(rows, np.int64)
    files = SplitFiles(version_path, manifest, split)
    images = np.empty((len(rows), *manifest.shape), manifest.dtype)
    labels, paths = np.empty(len(rows), np.int32), [""] * len(rows)
    for group in files.groups:
        places = np.flatnonzero((rows >= group.first) & (rows < group.first + group.rows))
        if not len(places):
            continue
        with damage_named(group.path):
            found = files.table(group, ["image", "label", "path"]).take(rows[places] - group.first)
            column = found.column("image")
            images[places] = np.concatenate(decode_column(column, manifest.codec, manifest.shape, dtype=manifest.dtype))
            labels[places] = found.column("label").to_numpy()
        for place, path in zip(places, found.column("path").to_pylist(), strict=True):
            paths[place] = path
    return Samples(rows, images, labels, paths, list(manifest.classes))


def read_examples(version_path: Location, manifest: Manifest, split: str) -> np.ndarray:
    """Return the first images of a split, at most four (n, H, W, C), or arrays (n, ...)."""
    files = SplitFiles(version_path, manifest, split)
    column = files.column(files.groups[0]).slice(0, _EXAMPLES)
    return np.concatenate(decode_column(column, manifest.codec, manifest.shape, dtype=manifest.dtype))
