"""Comparison of two models on the same samples. Pure."""

from dataclasses import dataclass

import numpy as np

ALPHA = 0.05  # probability that an equally good model is called worse


@dataclass(frozen=True)
class McNemar:
    """Samples on which exactly one of two models is right.

    Attributes:
        lost: Only the other model is right.
        won: Only the new model is right.
        p_value: Probability of losing at least as many of them if both models are equally good.
    """

    lost: int
    won: int
    p_value: float

    @property
    def worse(self) -> bool:
        """Return whether the new model is worse, beyond what chance explains at the level ``ALPHA``."""
        return self.p_value < ALPHA


def mcnemar(new_right: np.ndarray, other_right: np.ndarray) -> McNemar:
    """Compute the exact one-sided test.

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages", 1947:
    if both models are equally good, each sample on which they disagree is lost or won with probability 1/2, so the
    number of lost samples is binomial.

    Args:
        new_right: bool (N,), whether the new model is right.
        other_right: bool (N,), whether the other one is, on the same samples in the same order.
    """
    from scipy.stats import binomtest  # takes a second to import

    lost, won = int((other_right & ~new_right).sum()), int((new_right & ~other_right).sum())
    if not lost + won:  # which binomtest does not take
        return McNemar(0, 0, 1.0)
    return McNemar(lost, won, float(binomtest(lost, lost + won, alternative="greater").pvalue))
