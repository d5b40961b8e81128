"""Calibration: whether the confidence of a network matches its accuracy. Pure."""

from dataclasses import dataclass

import numpy as np

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Confidence and accuracy by bins of equal width.

    Attributes:
        edges: float (M + 1,), from 0 to 1; bin m holds confidences in (edges[m], edges[m + 1]], the first one 0 too.
        counts: int (M,) samples.
        confidence: float (M,) mean confidence; nan in an empty bin.
        accuracy: float (M,) share that is right; nan in an empty bin.
        expected_error: The expected calibration error (ECE), 0 to 1.
        largest_error: The maximum calibration error (MCE), 0 to 1.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    expected_error: float
    largest_error: float


def bin_of(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return which of M equal bins, (m / M, (m + 1) / M], each confidence is in: int (N,); 0 is in the first."""
    edges = np.linspace(0, 1, bins + 1)
    return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> Reliability:
    """Compare the confidence of a network with its accuracy.

    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks", 2017, equations 2 to 5,
    with the paper's 15 bins.

    Args:
        confidence: float (N,), the probability of the predicted class.
        correct: bool (N,), whether that class is the true one.
        bins: M.
    """
    confidence = np.clip(np.asarray(confidence, np.float64), 0, 1)
    edges = np.linspace(0, 1, bins + 1)
    index = bin_of(confidence, bins)
    counts = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(index, confidence, bins) / counts
        share = np.bincount(index, np.asarray(correct, np.float64), bins) / counts
    gaps = np.abs(np.nan_to_num(share) - np.nan_to_num(mean))
    expected = float((counts * gaps).sum() / max(1, int(counts.sum())))
    return Reliability(edges, counts, mean, share, expected, float(gaps.max()))
