"""Curve of a learning rate sweep."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

_RAW, _SMOOTHED, _PROPOSED = "#9db8c4", "#1f6f8b", "#e07a3f"


def rate_curve(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: np.ndarray,
    first: float,
    suggestion: float | None,
    scale: float = 1.0,
) -> Figure:
    """Draw the loss over the learning rate, as measured and smoothed, with the suggestion.

    Args:
        rates: Learning rates, rising.
        losses: The loss after an update with each of them; the last may not be finite.
        smoothed: The finite losses, smoothed.
        first: The loss before the first update.
        suggestion: The suggested rate; None if the loss did not fall.
        scale: Factor between the learning rates and the configured one.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    at, values, means = np.array(rates), np.array(losses), smoothed
    axes.set_xscale("log")
    axes.plot(at, values, color=_RAW, linewidth=0.8, marker=".", markersize=4, label="loss of each batch")
    axes.plot(at[: len(means)], means, color=_SMOOTHED, linewidth=2, label="smoothed")
    if suggestion is not None:
        lowest = int(np.argmin(means))
        label = f"steepest: {suggestion:.2g} is suggested" + (f" (x {scale:.3g})" if scale != 1 else "")
        axes.axvline(suggestion * scale, color=_PROPOSED, linestyle="--", label=label)
        axes.plot(at[lowest], means[lowest], "o", color=_SMOOTHED, label=f"lowest, at {at[lowest]:.2g}")
    finite = values[np.isfinite(values)]
    if len(finite):  # the last losses explode, and would flatten the rest of the curve
        top = max(first, float(np.quantile(finite, 0.8)))
        bottom = float(finite.min())
        axes.set_ylim(bottom - 0.08 * (top - bottom), top + 0.4 * (top - bottom))
    axes.set(xlabel="learning rate", ylabel="loss", title="Learning-rate finder")
    axes.grid(alpha=0.3, which="major")
    axes.legend(frameon=False)
    return figure
