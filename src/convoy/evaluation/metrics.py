"""Classification metrics from counts. Pure NumPy."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from convoy.evaluation.calibration import reliability
from convoy.evaluation.confusion import Confusion


@dataclass(frozen=True)
class Outcomes:
    """Predictions of a model for N samples, and the true classes.

    Attributes:
        labels: int (N,) true classes.
        predictions: int (N,) most probable classes.
        rank_of_true: int (N,) number of classes that are more probable than the true one.
        probability_of_true: float (N,).
        confidence: float (N,), the probability of the most probable class.
    """

    labels: np.ndarray
    predictions: np.ndarray
    rank_of_true: np.ndarray
    probability_of_true: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def right(self) -> np.ndarray:
        """Return whether the most probable class is the true one: bool (N,)."""
        return self.predictions == self.labels

    @property
    def losses(self) -> np.ndarray:
        """Return -log(probability of the true class), natural logarithm, at most 87.4: float64 (N,)."""
        return -np.log(np.maximum(self.probability_of_true.astype(np.float64), np.finfo(np.float32).tiny))


@dataclass(frozen=True)
class Evaluation:
    """Metrics over a split of N samples and K classes.

    Attributes:
        rows: N.
        accuracy: Share of samples whose most probable class is the true one.
        top_k: k of ``top_k_accuracy``.
        top_k_accuracy: Share of samples with fewer than k classes more probable than the true one.
        log_loss: Mean of -log(probability of the true class), natural logarithm.
        expected_calibration_error: Mean distance of confidence and accuracy, in 15 bins of the confidence.
        precision: float (K,): of the samples predicted as the class, the share that belongs to it; 0 if there are none.
        recall: float (K,): of the class's samples, the share predicted as such; 0 if there are none.
        f1: float (K,): harmonic mean of the two.
        support: int (K,): samples of each class.
        cells: Counts of true and predicted classes.
    """

    rows: int
    accuracy: float
    top_k: int
    top_k_accuracy: float
    log_loss: float
    expected_calibration_error: float
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    cells: Confusion

    @property
    def confusion(self) -> np.ndarray:
        """Return the confusion matrix, int (K, K): rows are true classes, columns predictions."""
        return self.cells.matrix()

    def overall(self) -> dict[str, float]:
        """Return the metrics of the whole split by name, as in ``overall_names``."""
        values = {
            "accuracy": self.accuracy,
            f"top{self.top_k}_accuracy": self.top_k_accuracy,
            "log_loss": self.log_loss,
            "expected_calibration_error": self.expected_calibration_error,
        }
        by_class = class_summary(self.precision, self.recall, self.f1, self.support)
        return values | {name: float(value) for name, value in by_class.items()}

    def per_class(self) -> dict[str, list[float]]:
        """Return the metrics of each class by name: lists of K values."""
        return {name: getattr(self, name).tolist() for name in (*PER_CLASS, "support")}


PER_CLASS = ("precision", "recall", "f1")
UNBOUNDED = ("log_loss",)  # the others are from 0 to 1


def overall_names(top_k: int) -> list[str]:
    """Return the names of the metrics of a whole split."""
    by_class = ("macro_precision", "macro_recall", "macro_f1", "min_recall")
    return ["accuracy", f"top{top_k}_accuracy", "log_loss", "expected_calibration_error", *by_class]


def class_metrics(
    hits: np.ndarray, support: np.ndarray, predicted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute precision, recall and F1 of each class, 0 if the denominator is 0.

    Args:
        hits: int (..., K) samples of the class that were predicted as such.
        support: int (..., K) samples of the class.
        predicted: int (..., K) samples that were predicted as the class.

    Returns:
        Three times float (..., K).
    """
    precision, recall = hits / np.maximum(predicted, 1), hits / np.maximum(support, 1)
    return precision, recall, 2 * hits / np.maximum(support + predicted, 1)


def class_summary(
    precision: np.ndarray, recall: np.ndarray, f1: np.ndarray, support: np.ndarray
) -> Mapping[str, np.ndarray]:
    """Compute means over the classes, and the lowest recall of a class that has samples: (..., K) -> (...)."""
    return {
        "macro_precision": precision.mean(axis=-1),
        "macro_recall": recall.mean(axis=-1),
        "macro_f1": f1.mean(axis=-1),
        "min_recall": np.where(support > 0, recall, 1).min(axis=-1),
    }


def evaluate(outcomes: Outcomes, num_classes: int, top_k: int) -> Evaluation:
    """Compute the metrics.

    Args:
        outcomes: Outcomes of all samples.
        num_classes: K.
        top_k: k.
    """
    cells = Confusion.of(outcomes.labels, outcomes.predictions, num_classes)
    hits, support = cells.hits, cells.support
    precision, recall, f1 = class_metrics(hits, support, cells.predictions)
    return Evaluation(
        rows=len(outcomes),
        accuracy=float(hits.sum() / len(outcomes)),
        top_k=top_k,
        top_k_accuracy=float((outcomes.rank_of_true < top_k).mean()),
        log_loss=float(outcomes.losses.mean()),
        expected_calibration_error=reliability(outcomes.confidence, outcomes.right).expected_error,
        precision=precision,
        recall=recall,
        f1=f1,
        support=support,
        cells=cells,
    )
