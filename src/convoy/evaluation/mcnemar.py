"""Comparison of two models on the same samples. Pure NumPy."""

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
    lost, won = int((other_right & ~new_right).sum()), int((new_right & ~other_right).sum())
    return McNemar(lost, won, _upper_tail(lost, lost + won))


def _upper_tail(least: int, trials: int) -> float:
    """Return P(X >= least) for X binomial with probability 1/2."""
    k = np.arange(1, trials + 1, dtype=np.float64)
    log_choices = np.concatenate([[0.0], np.cumsum(np.log((trials - k + 1) / k))])
    return float(min(1.0, np.exp(log_choices[least:] - trials * np.log(2)).sum()))
