"""Drift: whether scored images differ from those that the model was trained on. Pure.

The measure is the population stability index (PSI) of two histograms with the same bins, the sum over the bins of
(a - e) ln(a / e), where e is the bin's share of the training images and a that of the scored ones: Jeffreys' symmetric
divergence, established in credit scoring for decades (N. Siddiqi, "Credit Risk Scorecards", Wiley, 2006, which calls a
shift of 0.1 to 0.25 small and one beyond it large). It needs no labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import chdtri

THRESHOLD = 0.2
"""From this index on, the histograms count as different; a customary value between "small" and "large"."""
_CHANCE = 0.001  # probability with which too few rows would reach the threshold although nothing has changed


@dataclass(frozen=True)
class Drift:
    """Comparison of one quantity.

    Attributes:
        rows: Scored rows that were counted.
        psi: The index; None if it cannot be judged.
        reason: Why it cannot be judged; empty if it can.
        most: Label of the bin that contributes most to the index; empty without an index.
        before: This bin's share of the training images.
        after: This bin's share of the scored ones.
    """

    rows: int
    psi: float | None
    reason: str = ""
    most: str = ""
    before: float = 0.0
    after: float = 0.0

    @property
    def drifted(self) -> bool:
        """Return whether the index has reached ``THRESHOLD``."""
        return self.psi is not None and self.psi >= THRESHOLD

    def fields(self) -> dict[str, Any]:
        """Return the fields of the job's JSON line."""
        if self.psi is None:
            return {"psi": None, "rows": self.rows, "reason": self.reason}
        return {"psi": round(self.psi, 6), "rows": self.rows, "drifted": self.drifted}


def compare(expected: Sequence[int], actual: Sequence[int], labels: Sequence[str]) -> Drift:
    """Compare two histograms.

    Args:
        expected: Training images in each bin.
        actual: Scored images in each bin.
        labels: Descriptions of the bins.

    Returns:
        The difference. It is not judged if there are so few rows that chance alone would reach the threshold once in a
        thousand times; the number depends on the number of bins (see ``rows_needed``).
    """
    rows, needed = int(sum(actual)), rows_needed(int(sum(expected)), len(expected))
    if needed is None:
        return Drift(rows, None, f"{sum(expected):,} training images are too few for {len(expected):,} bins")
    if rows < needed:
        return Drift(rows, None, f"{rows:,} rows are too few, {needed:,} needed")
    parts = contributions(expected, actual)
    most = int(np.argmax(parts))
    shares = expected[most] / sum(expected), actual[most] / rows
    return Drift(rows, float(parts.sum()), "", labels[most], *shares)


def contributions(expected: Sequence[int], actual: Sequence[int]) -> np.ndarray:
    """Return the contribution of each bin to the population stability index.

    Half a sample is added to every bin of both, so that an empty bin counts as rare and not as impossible (the
    logarithm would have no value).

    Args:
        expected: Counts of the first histogram.
        actual: Counts of the second one.

    Returns:
        float64 (bins,), none negative; all are zero if both are the same.
    """
    e, a = (np.asarray(counts, np.float64) + 0.5 for counts in (expected, actual))
    e, a = e / e.sum(), a / a.sum()
    return (a - e) * np.log(a / e)


def rows_needed(training: int, bins: int) -> int | None:
    """Return the number of rows with which a drift by chance alone is unlikely.

    If both histograms come from the same images, the index of n and m samples in B bins is about (1/n + 1/m) times a
    chi-square with B - 1 degrees of freedom (B. Yurdakul, "Statistical Properties of Population Stability Index",
    dissertation, Western Michigan University, 2018). With that many rows it reaches the threshold at most once in a
    thousand times.

    Args:
        training: Training images, m.
        bins: B.

    Returns:
        n; None if no number is enough, since there are too few training images.
    """
    if bins < 2:
        return 1 if training else None
    free = THRESHOLD / float(chdtri(bins - 1, _CHANCE)) - 1 / max(1, training)
    return int(np.ceil(1 / free)) if free > 0 else None


def warnings_of(drifts: Mapping[str, Drift]) -> list[str]:
    """Return a warning for each quantity that has drifted."""
    return [
        f"warning: {name} of the scored images differs from training: population stability index {found.psi:.2f}"
        f" ({THRESHOLD} or more is a shift), most of it from {found.most!r}: {found.before:.1%} in training,"
        f" {found.after:.1%} now"
        for name, found in drifts.items()
        if found.drifted
    ]


def text_of(drifts: Mapping[str, Drift]) -> str:
    """Format one line for people: the indices, and the quantities that could not be judged."""
    judged = [f"{name} {found.psi:.3f}" for name, found in drifts.items() if found.psi is not None]
    reasons: dict[str, list[str]] = {}
    for name, found in drifts.items():
        if found.psi is None:
            reasons.setdefault(found.reason, []).append(name)
    parts = [f"population stability index: {', '.join(judged)}"] if judged else []
    return "; ".join(parts + [f"not judged: {', '.join(names)} ({reason})" for reason, names in reasons.items()])
