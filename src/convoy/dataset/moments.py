"""Mean and variance of each channel, of any numbers, put together from parts. Pure.

T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances",
Technical Report STAN-CS-79-773, Stanford, 1979. Unlike sums of squares it keeps its digits where means are large.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """What is known of some samples.

    Attributes:
        count: Values of each channel.
        mean: Their mean, by channel.
        squares: Sum of the squared deviations from that mean, by channel.
    """

    count: int
    mean: list[float]
    squares: list[float]

    def std(self) -> list[float]:
        """Population standard deviation of each channel."""
        return [math.sqrt(value / self.count) for value in self.squares]


def moments_of(samples: np.ndarray) -> Moments:
    """Compute the moments of samples (n, ..., C) of any real type, in float64."""
    values = samples.reshape(-1, samples.shape[-1]).astype(np.float64)
    mean = values.mean(axis=0)
    values -= mean
    return Moments(len(values), mean.tolist(), np.square(values, out=values).sum(axis=0).tolist())


def merged(parts: Iterable[Moments]) -> Moments:
    """Put the moments of disjoint samples together, in their order: the same parts give the same bits."""
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
