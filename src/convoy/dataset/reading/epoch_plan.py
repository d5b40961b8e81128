"""The plan of samples: which rank sees which sample at which step. Pure functions of dataset, settings, seed and epoch.

The order of an epoch never depends on the number of ranks: rank r takes its slice of every global batch, so one
rank or four see the same batches, and each sample is used exactly once an epoch, including a short last batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

# Further random streams of (seed, epoch), beside the order; not 0, since NumPy's seeds ignore a trailing 0.
_REPETITIONS, _PARTNERS = 1, 2


@dataclass(frozen=True)
class EpochPlan:
    """The order of an epoch, and the row groups that have to be in memory for each part of it.

    Attributes:
        order: int64 (samples,), row numbers: rows are counted in stored order over all files of the split.
        window_ends: int64 (windows,), the position in ``order`` behind the last sample of each window.
        window_groups: Of each window, the numbers of the row groups that hold its samples, int64.
    """

    order: np.ndarray
    window_ends: np.ndarray
    window_groups: tuple[np.ndarray, ...]


def epoch_order(
    group_rows: Sequence[int] | np.ndarray,
    seed: int,
    epoch: int,
    window_rows: int | None = None,
    labels: np.ndarray | None = None,
) -> EpochPlan:
    """Return the order in which an epoch visits the samples.

    Without windows it is a permutation of all samples. With windows, row groups are permuted and cut into windows of
    successive ones, and samples are shuffled within each window, so that only one window at a time has to be in memory.

    Args:
        group_rows: Rows of each row group, in stored order.
        seed: Seed of the experiment.
        epoch: Counted from 0.
        window_rows: Minimum rows of a window, except for the last one of an epoch; None for one window of all rows.
        labels: int (rows,), to oversample such that all classes have equally many samples (see ``repetitions``); None
            to visit each sample once. A sample's repetitions are all in the window of its row group.
    """
    rows = int(np.sum(group_rows))
    generator = np.random.default_rng([seed, epoch])
    copies = None if labels is None else repetitions(labels, seed, epoch)
    if window_rows is None:
        samples = np.arange(rows) if copies is None else np.repeat(np.arange(rows), copies)
        return _planned([generator.permutation(samples)], [np.arange(len(group_rows))])
    groups = _windows(generator.permutation(len(group_rows)), np.asarray(group_rows), window_rows)
    windows = []
    for members in groups:
        samples = _rows_of(members, group_rows)
        windows.append(generator.permutation(samples if copies is None else np.repeat(samples, copies[samples])))
    return _planned(windows, groups)


def stored_order(group_rows: Sequence[int] | np.ndarray, window_rows: int) -> EpochPlan:
    """Return the plan that visits each sample once in stored order, in windows of ``window_rows`` rows or more."""
    groups = _windows(np.arange(len(group_rows)), np.asarray(group_rows), window_rows)
    return _planned([_rows_of(members, group_rows) for members in groups], groups)


def repetitions(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return how often each sample is visited so that every class that is present has as many as the largest.

    Samples of a class of n, where the largest class has m, are visited m // n times, and m % n of them, drawn
    again each epoch without replacement, once more.

    Args:
        labels: int (rows,).
        seed: Seed of the experiment.
        epoch: Counted from 0.

    Returns:
        int64 (rows,); its sum is the same in all epochs (``balanced_samples``).
    """
    generator = np.random.default_rng([seed, epoch, _REPETITIONS])
    copies = np.ones(len(labels), np.int64)
    _, counts = np.unique(labels, return_counts=True)
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    for members, count in zip(by_class, counts, strict=True):
        most = int(np.max(counts))
        copies[members] = most // count
        copies[generator.choice(members, most % count, replace=False)] += 1
    return copies


def balanced_samples(per_class: Sequence[int]) -> int:
    """Return the samples of an epoch in which every class that is present has as many as the largest."""
    present = [count for count in per_class if count]
    return len(present) * max(present, default=0)


def mixing_partners(batch_rows: np.ndarray, seed: int, epoch: int, step: int) -> np.ndarray:
    """Return the partner of each sample of a global batch: the batch itself, shifted in a circle.

    No sample is its own partner, and each is the partner of exactly one, except in a batch of one sample.

    Args:
        batch_rows: int64 (n,), the samples of the whole global batch, or their positions.
        seed: Seed of the experiment.
        epoch: Counted from 0.
        step: Step of the epoch, from 0.
    """
    if len(batch_rows) < 2:
        return batch_rows
    shift = np.random.default_rng([seed, epoch, _PARTNERS, step]).integers(1, len(batch_rows))
    return np.concatenate([batch_rows[shift:], batch_rows[:shift]])


@dataclass(frozen=True, slots=True)
class RankBatch:
    """One rank's part of a global batch.

    Attributes:
        start: Position in the epoch's order of the global batch's first sample.
        stop: Position behind its last sample.
        own: int64 (n,), positions of the rank's samples.
        partners: int64 (n,), positions of the samples they are mixed with (see ``mixing_partners``); or None.
    """

    start: int
    stop: int
    own: np.ndarray
    partners: np.ndarray | None


def rank_shares(
    samples: int,
    global_batch: int,
    rank: int,
    world_size: int,
    first_step: int = 0,
    mixing: tuple[int, int] | None = None,
) -> Iterator[RankBatch]:
    """Yield the part of a rank in each step of an epoch.

    Args:
        samples: Samples of the epoch.
        global_batch: Samples per step, over all ranks.
        rank: 0 to ``world_size - 1``.
        world_size: Number of ranks.
        first_step: Step to begin with; the steps after it do not depend on it.
        mixing: (seed, epoch) to draw partners with; None for no partners.
    """
    positions = np.arange(samples)
    for step in range(first_step, steps_per_epoch(samples, global_batch)):
        batch = positions[step * global_batch : (step + 1) * global_batch]
        part = rank_slice(len(batch), rank, world_size)
        partners = mixing_partners(batch, *mixing, step)[part] if mixing else None
        yield RankBatch(step * global_batch, step * global_batch + len(batch), batch[part], partners)


def steps_per_epoch(rows: int, global_batch: int) -> int:
    """Return the number of global batches that hold all rows; the last one may be short."""
    return -(-rows // global_batch)


def rank_slice(batch: int, rank: int, world_size: int) -> slice:
    """Return the slice of a global batch that belongs to a rank; slices differ by at most one sample.

    Args:
        batch: Samples in the global batch (the last one of an epoch may be short).
        rank: 0 to ``world_size - 1``.
        world_size: Number of ranks.
    """
    return slice(batch * rank // world_size, batch * (rank + 1) // world_size)


def gradient_weight(rows: int, global_batch: int, step: int, rank: int, world_size: int) -> float:
    """Return the weight of a rank's mean gradient with which the average over ranks is the mean over samples.

    With equal slices it is 1. In a short last batch of N samples, of which this rank has n, it is
    ``n * world_size / N``: the average over ranks of (weight x mean over n) is then the sum over all N, over N.
    """
    batch = min(global_batch, rows - step * global_batch)
    own = rank_slice(batch, rank, world_size)
    return (own.stop - own.start) * world_size / batch


def _windows(groups: np.ndarray, group_rows: np.ndarray, window_rows: int) -> list[np.ndarray]:
    """Cut row groups, in their order, into windows."""
    windows, start, held = [], 0, 0
    for position, rows in enumerate(group_rows[groups].tolist(), 1):
        held += rows
        if held >= window_rows or position == len(groups):
            windows.append(groups[start:position])
            start, held = position, 0
    return windows


def _rows_of(groups: np.ndarray, group_rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the numbers of the rows of some row groups."""
    ends = np.cumsum(group_rows)
    return np.concatenate([np.arange(ends[group] - group_rows[group], ends[group]) for group in groups])


def _planned(windows: list[np.ndarray], groups: list[np.ndarray]) -> EpochPlan:
    ends = np.cumsum([len(samples) for samples in windows], dtype=np.int64)
    return EpochPlan(np.concatenate([np.empty(0, np.int64), *windows]), ends, tuple(groups))
