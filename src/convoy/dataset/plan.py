"""The plan of samples: who sees which sample when. Pure functions of (rows, batch, seed, epoch, rank, world size).

The order of an epoch never depends on the number of ranks: rank r takes its slice of every global batch, so one
rank or four see the same batches, and each sample is used exactly once an epoch, the last short batch included.
"""

import numpy as np


def epoch_order(rows: int, seed: int, epoch: int) -> np.ndarray:
    """Return the permutation of ``range(rows)`` (int64) in which an epoch visits the samples."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def steps_per_epoch(rows: int, global_batch: int) -> int:
    """Number of global batches that hold all rows, the last possibly short."""
    return -(-rows // global_batch)


def rank_slice(batch: int, rank: int, world_size: int) -> slice:
    """Return the part of a global batch that belongs to a rank; parts differ by at most one sample.

    Args:
        batch: Samples in the global batch (the last one of an epoch may be short).
        rank: 0 to ``world_size - 1``.
        world_size: Number of ranks.
    """
    return slice(batch * rank // world_size, batch * (rank + 1) // world_size)


def rank_batches(order: np.ndarray, global_batch: int, rank: int, world_size: int) -> list[np.ndarray]:
    """Return, for each step of an epoch, the samples of one rank (possibly none in the last step)."""
    return [
        order[start : start + global_batch][rank_slice(min(global_batch, len(order) - start), rank, world_size)]
        for start in range(0, len(order), global_batch)
    ]


def gradient_weight(rows: int, global_batch: int, step: int, rank: int, world_size: int) -> float:
    """Weight of a rank's mean gradient in the average over ranks, such that the average is the mean over samples.

    With equal slices it is 1. In a short last batch of N samples, of which this rank has n, it is
    ``n * world_size / N``: the average over ranks of (weight x mean over n) is then the sum over all N, over N.
    """
    batch = min(global_batch, rows - step * global_batch)
    own = rank_slice(batch, rank, world_size)
    return (own.stop - own.start) * world_size / batch
