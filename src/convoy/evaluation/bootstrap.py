"""Uncertainty of metrics from sampling: percentile intervals of the bootstrap. Pure NumPy."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from convoy.evaluation.calibration import BINS, bin_of
from convoy.evaluation.metrics import PER_CLASS, Outcomes, class_metrics, class_summary

LEVEL = 0.95
_SEED = 0  # the same samples give the same intervals
_MOST_CELLS = 2_000
_CHUNK_VALUES = 2_000_000


@dataclass(frozen=True)
class Intervals:
    """Intervals that contain the true value of a metric in 95 of 100 cases.

    Attributes:
        resamples: Resamples of the bootstrap.
        overall: Name -> (low, high).
        per_class: Name -> float (2, K), low and high.
    """

    resamples: int
    overall: dict[str, tuple[float, float]]
    per_class: dict[str, np.ndarray]


def bootstrap(outcomes: Outcomes, num_classes: int, top_k: int, resamples: int) -> Intervals:
    """Compute percentile intervals of all metrics.

    B. Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979; the percentile interval of B. Efron and R.
    Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13. N samples with replacement are drawn as
    counts: the frequency of each kind of sample is multinomial, and a metric only needs the counts of some kinds.
    So the time for a resample does not grow with N.

    Args:
        outcomes: Outcomes of N samples, in any order.
        num_classes: K.
        top_k: k.
        resamples: Number of resamples, at least 1.
    """
    generator = np.random.default_rng(_SEED)
    among_best = generator.binomial(len(outcomes), (outcomes.rank_of_true < top_k).mean(), resamples) / len(outcomes)
    of_classes, of_each_class = _class_resamples(generator, outcomes, num_classes, resamples)
    log_loss, calibration = _probability_resamples(generator, outcomes, resamples)
    overall = {
        **of_classes,
        f"top{top_k}_accuracy": among_best,
        "log_loss": log_loss,
        "expected_calibration_error": calibration,
    }
    ends = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    return Intervals(
        resamples,
        {
            name: (float(low), float(high))
            for name, values in overall.items()
            for low, high in [np.quantile(values, ends)]
        },
        {name: np.quantile(values, ends, axis=0) for name, values in of_each_class.items()},
    )


def _class_resamples(
    generator: np.random.Generator, outcomes: Outcomes, num_classes: int, resamples: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Resample the metrics of the confusion matrix, whose non-empty cells are the kinds of samples.

    Returns:
        (name -> (resamples,), name -> (resamples, K)).
    """
    pairs = outcomes.labels.astype(np.int64) * num_classes + outcomes.predictions
    cells, counts = np.unique(pairs, return_counts=True)
    true, said = cells // num_classes, cells % num_classes
    overall: dict[str, list[np.ndarray]] = {}
    per_class: dict[str, list[np.ndarray]] = {}
    for drawn in _draws(generator, counts, resamples, num_classes):
        support, predicted = _sums(drawn, true, num_classes), _sums(drawn, said, num_classes)
        hits = _sums(np.where(true == said, drawn, 0), true, num_classes)
        by_class = class_metrics(hits, support, predicted)
        values = {"accuracy": hits.sum(axis=1) / len(outcomes), **class_summary(*by_class, support)}
        for name, value in values.items():
            overall.setdefault(name, []).append(value)
        for name, value in zip(PER_CLASS, by_class, strict=True):
            per_class.setdefault(name, []).append(value.astype(np.float32))
    return {name: np.concatenate(v) for name, v in overall.items()}, {
        n: np.concatenate(v) for n, v in per_class.items()
    }


def _probability_resamples(
    generator: np.random.Generator, outcomes: Outcomes, resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Resample log loss and expected calibration error: (resamples,) each.

    Samples in the same bin of the confidence that are all right or all wrong form one kind. Beyond 2,000 samples, those
    with neighbouring losses form one kind, with the mean of their losses: the number of kinds does not depend on N.
    """
    losses = outcomes.losses
    gaps: np.ndarray = outcomes.right - outcomes.confidence.astype(np.float64)
    bins = bin_of(outcomes.confidence)
    groups = 2 * bins + outcomes.right
    order = np.lexsort((losses, groups))
    within = np.arange(len(order)) - np.searchsorted(groups[order], groups[order])
    starts = np.flatnonzero(within % -(-len(order) // _MOST_CELLS) == 0)
    counts = np.diff(starts, append=len(order))
    mean_loss, mean_gap = (np.add.reduceat(values[order], starts) / counts for values in (losses, gaps))
    log_loss, calibration = [], []
    for drawn in _draws(generator, counts, resamples):
        log_loss.append(drawn @ mean_loss / len(order))
        calibration.append(np.abs(_sums(drawn * mean_gap, bins[order][starts], BINS)).sum(axis=1) / len(order))
    return np.concatenate(log_loss), np.concatenate(calibration)


def _draws(generator: np.random.Generator, counts: np.ndarray, resamples: int, width: int = 1) -> Iterator[np.ndarray]:
    """Yield int (some resamples, kinds): how often each kind is drawn, with as many draws as there are samples."""
    total = counts.sum()
    most = max(1, _CHUNK_VALUES // max(len(counts), width))
    for start in range(0, resamples, most):
        yield generator.multinomial(total, counts / total, min(most, resamples - start))


def _sums(values: np.ndarray, groups: np.ndarray, num_groups: int) -> np.ndarray:
    """Sum columns by group: (B, kinds) -> (B, groups)."""
    order = np.argsort(groups, kind="stable")
    present, starts = np.unique(groups[order], return_index=True)
    found = np.zeros((len(values), num_groups), values.dtype)
    found[:, present] = np.add.reduceat(values[:, order], starts, axis=1)
    return found
