"""Mean and variance of each channel, for any numeric type, merged from parts. Pure.

T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances",
Technical Report STAN-CS-79-773, Stanford, 1979. Unlike sums of squares, it does not lose digits if means are large.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_ROWS = 1 << 16  # 65,536 squares of 255 fit into 32 bits
_VALUES = 1 << 19  # at once: they fit into the processor's cache


@dataclass(frozen=True)
class Moments:
    """Count, mean and squared deviations of some samples.

    Attributes:
        count: Values of each channel.
        mean: Their mean, by channel.
        squares: Sum of the squared deviations from that mean, by channel.
    """

    count: int
    mean: list[float]
    squares: list[float]

    def std(self) -> list[float]:
        """Return the population standard deviation of each channel."""
        return [math.sqrt(value / self.count) for value in self.squares]


def moments_of(samples: np.ndarray) -> Moments:
    """Compute the moments of samples (n, ..., C) of any real type, in float64."""
    values = samples.reshape(-1, samples.shape[-1]).astype(np.float64)
    mean = values.mean(axis=0)
    values -= mean
    return Moments(len(values), mean.tolist(), np.square(values, out=values).sum(axis=0).tolist())


def merged(parts: Iterable[Moments]) -> Moments:
    """Merge the moments of disjoint samples, in their order: the same parts give bitwise identical results."""
    return functools.reduce(_merged, parts)


def _merged(left: Moments, right: Moments) -> Moments:
    count = left.count + right.count
    share = right.count / count
    mean, squares = [], []
    for m, s, other_m, other_s in zip(left.mean, left.squares, right.mean, right.squares, strict=True):
        step = other_m - m
        mean.append(m + step * share)
        squares.append(s + other_s + step * step * left.count * share)
    return Moments(count, mean, squares)


def exact_sums(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact sums of the values and of their squares, by channel.

    Whole rows are added up first, many values in one instruction and in 32 bits; channel by channel would take
    seventeen times as long for photographs.

    Args:
        samples: uint8 (n, ..., C).

    Returns:
        Two int64 arrays (C,).
    """
    channels, values = samples.shape[-1], samples[0].size
    width = channels * (samples.shape[-2] if samples.ndim > 2 else 1)
    most = max(1, min(_ROWS // (values // width), _VALUES // values))  # samples at once
    sums = np.zeros((2, channels), np.int64)
    for start in range(0, len(samples), most):
        rows = samples[start : start + most].reshape(-1, width)
        for part in (rows[i : i + _ROWS] for i in range(0, len(rows), _ROWS)):
            squares = np.square(part, dtype=np.uint16)
            for total, added in zip(sums, (part, squares), strict=True):
                total += added.sum(axis=0, dtype=np.uint32).reshape(-1, channels).sum(axis=0, dtype=np.int64)
    return sums[0], sums[1]
