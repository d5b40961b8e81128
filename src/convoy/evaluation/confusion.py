"""Confusion counts that need memory for the cells in use, not for all pairs of classes. Pure NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_WHOLE, _WORST = 60, 50  # most classes whose matrix is drawn as a whole; rows that are drawn of more


@dataclass(frozen=True)
class Confusion:
    """The cells of a confusion matrix that are not 0.

    Attributes:
        num_classes: K.
        true: int (M,) true class of each cell.
        predicted: int (M,) predicted class of each cell.
        counts: int (M,) samples in each cell, at least 1.
    """

    num_classes: int
    true: np.ndarray
    predicted: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> "Confusion":
        """Count the pairs of true and predicted classes: int (N,) each."""
        pairs = labels.astype(np.int64) * num_classes + predictions
        cells, counts = np.unique(pairs, return_counts=True)
        return cls(num_classes, cells // num_classes, cells % num_classes, counts.astype(np.int64))

    @classmethod
    def of_matrix(cls, matrix: np.ndarray) -> "Confusion":
        """Return the cells of a matrix int (K, K), rows true classes, columns predictions."""
        true, predicted = np.nonzero(matrix)
        return cls(len(matrix), true, predicted, matrix[true, predicted].astype(np.int64))

    @property
    def total(self) -> int:
        """Return the number of samples."""
        return int(self.counts.sum())

    @property
    def hits(self) -> np.ndarray:
        """Return the samples of each class that are predicted as such: int (K,)."""
        return self._sums(self.true[self.true == self.predicted], self.counts[self.true == self.predicted])

    @property
    def support(self) -> np.ndarray:
        """Return the samples of each class: int (K,)."""
        return self._sums(self.true, self.counts)

    @property
    def predictions(self) -> np.ndarray:
        """Return the samples that are predicted as each class: int (K,)."""
        return self._sums(self.predicted, self.counts)

    def _sums(self, classes: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return np.bincount(classes, counts, self.num_classes).astype(np.int64)  # exact up to 2^53

    def matrix(self) -> np.ndarray:
        """Return the whole matrix, int (K, K): 8 bytes for each pair of classes."""
        found = np.zeros((self.num_classes, self.num_classes), np.int64)
        found[self.true, self.predicted] = self.counts
        return found

    def part(self, classes: np.ndarray) -> np.ndarray:
        """Return the rows of some classes.

        Args:
            classes: int (n,), different ones.

        Returns:
            int (n, n + 1): the predictions of these classes in the same order, then those of all others.
        """
        place = np.full(self.num_classes, len(classes))
        place[classes] = np.arange(len(classes))
        kept = place[self.true] < len(classes)
        found = np.zeros((len(classes), len(classes) + 1), np.int64)
        np.add.at(found, (place[self.true[kept]], place[self.predicted[kept]]), self.counts[kept])
        return found

    def lowest_recall(self, count: int) -> np.ndarray:
        """Return the classes (with samples) of the lowest recall, by index: int (n,); of equals, the largest."""
        support = self.support
        recall = self.hits / np.maximum(support, 1)
        order = np.lexsort((-support, recall))
        return np.sort(order[support[order] > 0][:count])


@dataclass(frozen=True)
class Shown:
    """What a picture of a confusion matrix shows.

    Attributes:
        counts: int (n, n), or (n, n + 1) with a column of all other classes.
        names: Names of the n classes.
        note: Addition to the title.
    """

    counts: np.ndarray
    names: list[str]
    note: str


def picture_of(cells: Confusion, classes: Sequence[str]) -> Shown:
    """Return the whole matrix of up to 60 classes, or the rows of the 50 classes with the lowest recall."""
    if cells.num_classes <= _WHOLE:
        return Shown(cells.matrix(), list(classes), "")
    worst = cells.lowest_recall(_WORST)
    note = f"; the {len(worst)} classes with the lowest recall, of {cells.num_classes:,}"
    return Shown(cells.part(worst), [classes[i] for i in worst], note)
