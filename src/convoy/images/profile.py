"""Profile of a collection of images: histograms of brightness and size. Pure.

Ingest counts the training images, the model stores the result, and scoring counts its images in the same bins.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

BINS = 10
"""Number of quantile bins: deciles, as is usual for the population stability index."""


@dataclass(frozen=True)
class Bins:
    """A histogram of whole numbers.

    Attributes:
        edges: Ascending. Bin i holds ``edges[i - 1] < value <= edges[i]``; the first and the last one are open.
        counts: Count of each bin; there is one more bin than edges.
    """

    edges: list[int]
    counts: list[int]

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError(f"{len(self.counts)} counts for {len(self.edges)} edges")

    def count(self, values: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
        """Return the counts, int64 (bins,), of values (N,); each counts ``times`` (N,), by default once."""
        return np.bincount(self.bin_of(values), times, minlength=len(self.counts)).astype(np.int64)

    def bin_of(self, values: np.ndarray) -> np.ndarray:
        """Return the number of each value's bin, int (N,), from 0."""
        return np.searchsorted(np.asarray(self.edges, np.int64), values, side="left")

    def labels(self) -> list[str]:
        """Return a text for the range of values of each bin."""
        if not self.edges:
            return ["any"]
        inner = [(before + 1, last) for before, last in itertools.pairwise(self.edges)]
        between = [f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in inner]
        return [f"up to {self.edges[0]:,}", *between, f"{self.edges[-1] + 1:,} or more"]


@dataclass(frozen=True)
class ImageProfile:
    """Profile of the images of a training split.

    Attributes:
        brightness: Brightness as returned by ``brightness``, after resizing.
        height: Height in pixels, before resizing, upright.
        width: Width in pixels, before resizing, upright.
    """

    brightness: Bins
    height: Bins
    width: Bins

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ImageProfile":
        """Return a profile from the result of ``dataclasses.asdict``."""
        return cls(**{name: Bins(list(bins["edges"]), list(bins["counts"])) for name, bins in values.items()})


def brightness(images: np.ndarray) -> np.ndarray:
    """Return the brightness of images.

    Args:
        images: uint8 (N, H, W, C).

    Returns:
        int64 (N,): the mean of each image's values, rounded down: 0 to 255.
    """
    values = math.prod(images.shape[1:])
    # 32 bits are twice as fast, and hold the sum of 16 million values.
    total = images.reshape(len(images), values).sum(axis=1, dtype=np.uint32 if values < 1 << 24 else np.uint64)
    return total.astype(np.int64) // values


def quantile_bins(counts: Mapping[int, int], bins: int = BINS) -> Bins:
    """Return bins with about equal counts.

    A value that fills a bin by itself gets a separate bin, even at the ends: if all images have one size, larger and
    smaller ones fall into other bins.

    Args:
        counts: Value -> how often it occurs.
        bins: Requested number of bins; there are fewer if there are few distinct values, and more around frequent ones.

    Returns:
        The bins; each holds less than twice its share of the values, or a single value.
    """
    values = sorted(value for value, count in counts.items() if count)
    found = np.array([counts[value] for value in values], np.int64)
    total = int(found.sum())
    reached = np.cumsum(found) * bins // max(1, total)  # number of quantiles at or below each value
    edges = set()
    for i, value in enumerate(values):
        if reached[i] > (reached[i - 1] if i else 0):
            edges.add(value)
        if found[i] * bins >= total:
            edges.update((value - 1, value))
        elif i == len(values) - 1:
            edges.discard(value)  # the last bin is open
    ordered = sorted(edges)
    empty = Bins(ordered, [0] * (len(ordered) + 1))
    return Bins(ordered, empty.count(np.array(values, np.int64), found).tolist())
