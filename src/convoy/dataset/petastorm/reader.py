"""Petastorm's reader, as the public tutorials use it: ``training.reader: petastorm``, for comparison only.

It is not exact. Each rank reads the row groups of its shard repeatedly, decoded row by row, so if shards differ in
size, some samples occur more often than others. Samples arrive in the order in which row groups are read. Row numbers
are not available, so samples are counted instead, and augmentation uses that count.
"""

import warnings
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np

from convoy.dataset.reading.epoch_plan import rank_slice
from convoy.dataset.reading.split_reader import Batch
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import DatasetError


def petastorm_batches(
    version_path: Path,
    manifest: Manifest,
    split: str,
    global_batch: int,
    rank: int,
    world_size: int,
    seed: int = 0,
    threads: int = 10,
) -> Iterator[Batch]:
    """Yield batches of a rank's shard indefinitely; take ``steps_per_epoch`` of them for an epoch.

    Args:
        version_path: Folder of the version.
        manifest: Manifest of the version.
        split: Name of the split.
        global_batch: Samples per step, over all ranks.
        rank: 0 to ``world_size - 1``; it is also the number of the shard.
        world_size: Number of ranks.
        seed: Seed of the order of row groups.
        threads: Petastorm's ``workers_count``, by default 10 as there; rows arrive as they are decoded.

    Raises:
        DatasetError: There are fewer row groups than ranks, so Petastorm cannot shard them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Petastorm 0.13 imports names that pyarrow 14 deprecates
        from petastorm import make_reader
        from petastorm.errors import NoDataAvailableError

        names = ["image", "label", *(["weight"] if manifest.weighted else [])]
        try:
            reader = make_reader(
                (version_path / split).absolute().as_uri(),
                schema_fields=names,
                reader_pool_type="thread",
                workers_count=threads,
                num_epochs=None,
                shuffle_row_groups=True,
                seed=seed,
                cur_shard=rank,
                shard_count=world_size,
            )
        except NoDataAvailableError:
            raise DatasetError(
                f"{version_path / split} has fewer row groups than the {world_size} ranks among which training.reader"
                " petastorm shares them; use training.reader convoy"
            ) from None
    share = rank_slice(global_batch, rank, world_size)
    size = share.stop - share.start
    with reader:
        for step in count():
            samples = list(islice(reader, size))
            yield Batch(
                np.stack([sample.image for sample in samples]).reshape(size, *manifest.shape),
                np.array([sample.label for sample in samples], np.int32),
                np.array([sample.weight for sample in samples], np.float32) if manifest.weighted else None,
                step * global_batch + np.arange(share.start, share.stop),
            )
