"""Reader of one rank's part of every global batch of a split, in the plan's order, from memory or from the files.

Memory and files give different orders of an epoch (a permutation of all samples, or one within windows: see
``epoch_plan``), so the choice depends on the configuration and the size of the data alone, never on the machine.
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import numpy as np

from convoy.dataset.reading.buffers import Buffers
from convoy.dataset.reading.epoch_plan import (
    EpochPlan,
    RankBatch,
    balanced_samples,
    epoch_order,
    rank_shares,
    stored_order,
)
from convoy.dataset.reading.examples import read_split
from convoy.dataset.reading.split_files import SplitFiles
from convoy.dataset.reading.windowed import Images, Stream
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest

AUTO_BYTES = 4 << 30
"""Decoded size up to which cache ``auto`` keeps a split in memory."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One rank's part of a global batch; n may be 0 in a short last batch.

    Attributes:
        images: (n, *shape) of the manifest's dtype.
        labels: int32 (n,).
        weights: float32 (n,), of each sample in the loss; None if the dataset has no weights.
        rows: int64 (n,), numbers of the samples in the split.
        partners: (n, *shape), the images to mix with; None if no partners were requested.
        partner_labels: int32 (n,).
    """

    images: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None
    rows: np.ndarray
    partners: np.ndarray | None = None
    partner_labels: np.ndarray | None = None


@dataclass(frozen=True)
class ReadSettings:
    """How to read a split.

    Attributes:
        cache: ``memory`` decodes the split once and keeps it; ``none`` reads it from its files in every epoch; ``auto``
            is ``memory`` up to 4 GiB decoded (``AUTO_BYTES``), else ``none``.
        window_mb: Decoded MiB of the window that samples are shuffled within, with cache ``none``.
        seed: Seed of the order, repetitions and partners.
        class_balance: ``oversample`` repeats samples so that all classes have equally many; the other values do not
            change the order.
        partners: Whether to give each sample another one to be mixed with.
        threads: Number of decoding threads.
    """

    cache: Literal["auto", "memory", "none"] = "auto"
    window_mb: float = 256
    seed: int = 0
    class_balance: Literal["none", "weights", "oversample"] = "none"
    partners: bool = False
    threads: int = 1


def samples_per_epoch(manifest: Manifest, class_balance: str) -> int:
    """Return the training samples that an epoch visits, repetitions included."""
    entry = manifest.split("train")
    return balanced_samples(list(entry.per_class.values())) if class_balance == "oversample" else entry.rows


class SplitReader:
    """Reader of one split; created by ``open_split``.

    Attributes:
        samples: Samples of an epoch, repetitions included.
        rows: Samples of the split.
        in_memory: Whether the split is held in memory.
    """

    def __init__(self, version_path: Location, manifest: Manifest, split: str, settings: ReadSettings) -> None:
        entry = manifest.split(split)
        self._settings = settings
        self._files = SplitFiles(version_path, manifest, split)
        small = entry.rows * manifest.spec.nbytes <= AUTO_BYTES
        self.in_memory = settings.cache == "memory" or (settings.cache == "auto" and small)
        self.rows = self.samples = entry.rows
        if settings.class_balance == "oversample":
            self.samples = balanced_samples(list(entry.per_class.values()))
        self._window_rows = max(1, int(settings.window_mb * 2**20 / manifest.spec.nbytes))
        self._arrays: np.ndarray | None = None
        self._stream: Stream | None = None
        if self.in_memory:
            # Every rank decodes the whole split, once, since its samples are different ones in every epoch.
            data = read_split(version_path, manifest, split, settings.threads)
            self._arrays, self._labels, self._weights = data.images, data.labels, data.weights
        else:
            self._labels, self._weights = self._files.targets()
            self._stream = Stream(self._files, manifest, settings.threads)

    def batches(
        self, epoch: int, global_batch: int, rank: int, world_size: int, first_step: int = 0
    ) -> Generator[Batch, None, None]:
        """Yield this rank's part of an epoch's global batches, in the plan's order.

        Args:
            epoch: Counted from 0.
            global_batch: Samples per step, over all ranks.
            rank: 0 to ``world_size - 1``.
            world_size: Number of ranks.
            first_step: Step of the epoch to begin with.

        Raises:
            DatasetError: A file is damaged; the message names it.
        """
        settings = self._settings
        plan = epoch_order(
            self._files.group_rows,
            settings.seed,
            epoch,
            None if self.in_memory else self._window_rows,
            self._labels if settings.class_balance == "oversample" else None,
        )
        mixing = (settings.seed, epoch) if settings.partners else None
        shares = rank_shares(len(plan.order), global_batch, rank, world_size, first_step, mixing)
        return self._serve(plan, shares)

    def in_order(self, global_batch: int, rank: int, world_size: int) -> Generator[Batch, None, None]:
        """Yield this rank's part of the split, each sample once in stored order, without partners: for validation."""
        plan = stored_order(self._files.group_rows, self._window_rows)
        return self._serve(plan, rank_shares(self.rows, global_batch, rank, world_size))

    def first(self) -> Batch:
        """Return the split's first sample, for a rank that has no sample in a batch (see ``tf_data``)."""
        plan = stored_order(self._files.group_rows[:1], 1)
        with closing(self._serve(plan, rank_shares(1, 1, 0, 1, 0, (0, 0) if self._settings.partners else None))) as one:
            return next(one)

    def close(self) -> None:
        """Stop the threads and free the memory."""
        if self._stream:
            self._stream.close()
        self._arrays = None

    def _serve(self, plan: EpochPlan, shares: Iterator[RankBatch]) -> Generator[Batch, None, None]:
        order, labels, weights = plan.order, self._labels, self._weights
        for share, (images, partners) in self._images(plan, shares):
            rows = order[share.own]
            yield Batch(
                images,
                labels[rows],
                None if weights is None else weights[rows],
                rows,
                partners,
                None if share.partners is None else labels[order[share.partners]],
            )

    def _images(self, plan: EpochPlan, shares: Iterator[RankBatch]) -> Iterator[tuple[RankBatch, Images]]:
        if self._stream:
            planned = list(shares)  # needed to determine the samples of each window
            with closing(self._stream.images(plan, planned)) as images:
                yield from zip(planned, images, strict=True)
            return
        buffers = Buffers()
        for share in shares:
            own = self._take(plan.order[share.own], buffers)
            yield share, (own, None if share.partners is None else self._take(plan.order[share.partners], buffers))

    def _take(self, rows: np.ndarray, buffers: Buffers) -> np.ndarray:
        assert self._arrays is not None
        out = buffers.empty((len(rows), *self._arrays.shape[1:]), self._arrays.dtype.name)
        return self._arrays.take(rows, axis=0, out=out, mode="clip")  # other modes than "clip" copy twice


def open_split(version_path: Location, manifest: Manifest, split: str, settings: ReadSettings) -> SplitReader:
    """Open a split; with cache ``memory`` this reads and decodes all of it.

    Raises:
        DatasetError: There is no such split, files do not match the manifest, or the split is to be held in memory and
            is larger than the free memory.
    """
    return SplitReader(version_path, manifest, split, settings)
