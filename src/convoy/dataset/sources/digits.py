"""The embedded source: scikit-learn's copy of the UCI handwritten digits, 1,797 real images of 8x8.

E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from convoy.dataset.sources.listing import LISTING, LISTING_SCHEMA


@functools.cache
def _load() -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 images (1797, 8, 8) scaled from 0..16 to 0..255, and their labels (1797,)."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return np.rint(data.images * (255 / 16)).astype(np.uint8), data.target


def list_digits(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Convert rows (id) to the samples with those indices. Runs on a worker."""
    labels = _load()[1]
    for batch in batches:
        indices = batch.column("id").to_pylist()
        columns = {
            "path": [str(i) for i in indices],
            "name": [f"digits/{i:04d}" for i in indices],
            "class_name": [str(labels[i]) for i in indices],
            "split": [None] * len(indices),
        }
        yield pa.RecordBatch.from_pydict(columns, LISTING_SCHEMA)


@dataclass(frozen=True)
class DigitsSource:
    """Real images that need no download, for the demo and the tests."""

    def check(self) -> None:
        """Do nothing: the data is always available."""

    def classes(self, spark: SparkSession | None = None) -> list[str]:
        """Return ``"0"`` to ``"9"``."""
        return [str(digit) for digit in range(10)]

    def splits(self, spark: SparkSession | None = None) -> set[str]:
        """Return an empty set."""
        return set()

    def notes(self, spark: SparkSession) -> list[str]:
        """Return no lines: nothing is ignored."""
        return []

    def array_spec(self) -> None:
        """Return None: these are images."""

    def listing(self, spark: SparkSession) -> DataFrame:
        """Return all 1,797 samples."""
        return spark.range(0, 1797, numPartitions=1).mapInArrow(list_digits, LISTING)

    def read(self, path: str) -> np.ndarray:
        """Return the pixels (8, 8) of the sample with that index."""
        return _load()[0][int(path)]

    def describe(self) -> dict[str, Any]:
        """Return the kind."""
        return {"kind": "digits"}
