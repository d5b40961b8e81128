"""A split of a dataset -> arrays in memory -> batches of one rank."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pyarrow.parquet as pq

from convoy.dataset.codec import decode_column
from convoy.dataset.manifest import Manifest
from convoy.dataset.plan import epoch_order, rank_batches, steps_per_epoch
from convoy.errors import DatasetError
from convoy.images import BadImage

if TYPE_CHECKING:
    import tensorflow as tf


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


def read_split(version_path: Path, manifest: Manifest, split: str) -> SplitArrays:
    """Read a split's images and labels, row group by row group; encoded images are decoded in threads.

    Raises:
        DatasetError: No such split, more bytes than there is free memory, or files that do not match the manifest.
    """
    entry = manifest.split(split)
    # Twice: TensorFlow makes a copy of its own.
    needed, free = 2 * entry.rows * manifest.spec.nbytes, psutil.virtual_memory().available
    if needed > 0.8 * free:
        raise DatasetError(
            f"split {split!r} takes {needed / 2**30:.1f} GiB in memory, {free / 2**30:.1f} GiB are free on this"
            " machine; use smaller images or machines with more memory"
        )
    images = np.empty((entry.rows, *manifest.shape), manifest.dtype)
    labels = np.empty(entry.rows, np.int32)
    weights = np.empty(entry.rows, np.float32) if manifest.weighted else None
    columns = ["image", "label", *(["weight"] if manifest.weighted else [])]
    start = 0
    with ThreadPoolExecutor() as threads:
        for entry_file in entry.files:
            path = version_path / split / entry_file.name
            try:
                file = pq.ParquetFile(path)
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=columns)
                    labels[start : start + len(table)] = table.column("label").to_numpy()
                    if weights is not None:
                        weights[start : start + len(table)] = table.column("weight").to_numpy()
                    column = table.column("image")
                    for chunk in decode_column(column, manifest.codec, manifest.shape, threads, manifest.dtype):
                        images[start : start + len(chunk)] = chunk
                        start += len(chunk)
            except (OSError, ValueError, BadImage) as error:
                raise DatasetError(f"{path} cannot be read ({error}); ingest the dataset again") from None
    if start != entry.rows:
        raise DatasetError(f"{version_path / split} holds {start} rows, the manifest says {entry.rows}; ingest again")
    return SplitArrays(images, labels, weights)


def read_examples(version_path: Path, manifest: Manifest, split: str, count: int = 4) -> np.ndarray:
    """Return the first images of a split (count or fewer, H, W, C), or arrays (count or fewer, ...)."""
    file = pq.ParquetFile(version_path / split / manifest.split(split).files[0].name)
    table = file.read_row_group(0, columns=["image"]).slice(0, count)
    return np.concatenate(decode_column(table.column("image"), manifest.codec, manifest.shape, dtype=manifest.dtype))


def training_batches(
    data: SplitArrays,
    global_batch: int,
    seed: int,
    first_epoch: int,
    epochs: int,
    rank: int,
    world_size: int,
    first_step: int = 0,
) -> "tf.data.Dataset":
    """One rank's part of every global batch of epochs ``first_epoch`` to ``epochs - 1``, in the plan's order.

    Returns:
        A dataset of (uint8 images (n, H, W, C), int32 labels (n,)), ``steps_per_epoch`` elements per epoch. Where this
        rank has no sample in a short last batch it gets a borrowed one, since TensorFlow's convolutions do not take
        empty batches; its weight is 0 and ``convoy.training.callbacks.ExactOverRanks`` removes its trace.
    """

    def indices() -> Iterator[np.ndarray]:
        for epoch in range(first_epoch, epochs):
            batches = rank_batches(epoch_order(len(data), seed, epoch), global_batch, rank, world_size)
            yield from _never_empty(batches[first_step if epoch == first_epoch else 0 :])

    return _gather(data, indices, (epochs - first_epoch) * steps_per_epoch(len(data), global_batch) - first_step)


def evaluation_batches(data: SplitArrays, global_batch: int, rank: int, world_size: int) -> "tf.data.Dataset":
    """One rank's part of the split, once, in stored order; elements as in ``training_batches``."""

    def indices() -> Iterator[np.ndarray]:
        yield from _never_empty(rank_batches(np.arange(len(data)), global_batch, rank, world_size))

    return _gather(data, indices, steps_per_epoch(len(data), global_batch))


def _never_empty(batches: list[np.ndarray]) -> Iterator[np.ndarray]:
    return (rows if len(rows) else np.zeros(1, np.int64) for rows in batches)


def _gather(data: SplitArrays, indices: object, steps: int) -> "tf.data.Dataset":
    """Only indices pass through Python; the images are gathered by TensorFlow's own threads."""
    import tensorflow as tf

    with tf.device("CPU"):
        images, labels = tf.constant(data.images), tf.constant(data.labels)
    batches = tf.data.Dataset.from_generator(indices, output_signature=tf.TensorSpec((None,), tf.int64))
    batches = batches.map(
        lambda rows: (tf.gather(images, rows), tf.gather(labels, rows)), num_parallel_calls=1, deterministic=True
    )
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(4)
