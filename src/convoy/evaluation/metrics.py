"""Classification metrics from counts. Pure NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np


@dataclass(frozen=True)
class Evaluation:
    """Metrics over a split of N samples and K classes.

    Attributes:
        rows: N.
        accuracy: Share of samples whose most probable class is the true one.
        top_k: k of ``top_k_accuracy``.
        top_k_accuracy: Share of samples with fewer than k classes more probable than the true one.
        log_loss: Mean of -log(probability of the true class), natural logarithm.
        precision: float (K,): of the samples predicted as the class, the share that is; 0 where there are none.
        recall: float (K,): of the class's samples, the share predicted as such; 0 where there are none.
        f1: float (K,): harmonic mean of the two.
        support: int (K,): samples of each class.
        confusion: int (K, K): rows are true classes, columns predictions.
    """

    rows: int
    accuracy: float
    top_k: int
    top_k_accuracy: float
    log_loss: float
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    confusion: np.ndarray

    def overall(self) -> dict[str, float]:
        """The metrics of the whole split, by name."""
        return {
            "accuracy": self.accuracy,
            f"top{self.top_k}_accuracy": self.top_k_accuracy,
            "log_loss": self.log_loss,
            "macro_f1": float(self.f1.mean()),
            "macro_recall": float(self.recall.mean()),
            "min_recall": float(self.recall[self.support > 0].min()),
        }

    def per_class(self) -> dict[str, list[float]]:
        """The metrics of each class, by name: lists of K values."""
        return {name: getattr(self, name).tolist() for name in ("precision", "recall", "f1", "support")}

    def table(self, classes: Sequence[str], limit: int = 50) -> list[list[str]]:
        """Rows of text (class, precision, recall, F1, support) for the first ``limit`` classes."""
        columns = zip(classes, self.precision, self.recall, self.f1, self.support, strict=True)
        rows = [[name, f"{p:.4f}", f"{r:.4f}", f"{f:.4f}", f"{n:,}"] for name, p, r, f, n in islice(columns, limit)]
        return rows + [[f"... and {len(classes) - limit:,} more", "", "", "", ""]] * (len(classes) > limit)


def evaluate(
    labels: np.ndarray,
    predictions: np.ndarray,
    rank_of_true: np.ndarray,
    probability_of_true: np.ndarray,
    num_classes: int,
    top_k: int,
) -> Evaluation:
    """Compute the metrics.

    Args:
        labels: int (N,) true classes.
        predictions: int (N,) most probable classes.
        rank_of_true: int (N,) number of classes that are more probable than the true one.
        probability_of_true: float (N,).
        num_classes: K.
        top_k: k.
    """
    confusion = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(confusion, (labels, predictions), 1)
    hits, support, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision = hits / np.maximum(predicted, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + predicted, 1)
    log_loss = -np.log(np.maximum(probability_of_true.astype(np.float64), np.finfo(np.float32).tiny)).mean()
    return Evaluation(
        rows=len(labels),
        accuracy=float(hits.sum() / len(labels)),
        top_k=top_k,
        top_k_accuracy=float((rank_of_true < top_k).mean()),
        log_loss=float(log_loss),
        precision=precision,
        recall=recall,
        f1=f1,
        support=support,
        confusion=confusion,
    )
