"""What a sweep of the learning rate leaves in MLflow."""

from itertools import zip_longest

import numpy as np
from matplotlib.figure import Figure

from convoy.tracking.runs import TrainingRun
from convoy.training.finder import Sweep

PICTURE = "learning_rate_finder.png"
_RAW, _SMOOTHED, _PROPOSED = "#9db8c4", "#1f6f8b", "#e07a3f"


def log_sweep(run: TrainingRun, sweep: Sweep) -> None:
    """Log the curve as a picture and, update by update, as metrics, then what it proposes, and tags for all that."""
    for number, (rate, loss, mean) in enumerate(zip_longest(sweep.rates, sweep.losses, sweep.smoothed), 1):
        values = {"finder_learning_rate": rate, "finder_loss": loss, "finder_smoothed_loss": mean}
        run.log_update(number, {name: float(value) for name, value in values.items() if value is not None})
    tags = {"convoy.purpose": "learning-rate finder: a sweep, no trained model"}
    if sweep.suggestion is not None:
        run.log_update(len(sweep.rates), {"suggested_learning_rate": sweep.suggestion})
        tags["suggested_learning_rate"] = f"{sweep.suggestion:g}"
    run.flush()
    run.set_tags(tags)
    run.log_figure(rate_curve(sweep), PICTURE)


def rate_curve(sweep: Sweep) -> Figure:
    """Loss over the learning rate, as measured and smoothed, with the proposal."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    rates, losses, means = np.array(sweep.rates), np.array(sweep.losses), sweep.smoothed
    axes.set_xscale("log")
    axes.plot(rates, losses, color=_RAW, linewidth=0.8, marker=".", markersize=4, label="loss of each batch")
    axes.plot(rates[: len(means)], means, color=_SMOOTHED, linewidth=2, label="smoothed")
    if sweep.suggestion is not None:
        lowest = int(np.argmin(means))
        label = f"steepest: {sweep.suggestion:.2g} is suggested" + (
            f" (x {sweep.scale:.3g})" if sweep.scale != 1 else ""
        )
        axes.axvline(sweep.suggestion * sweep.scale, color=_PROPOSED, linestyle="--", label=label)
        axes.plot(rates[lowest], means[lowest], "o", color=_SMOOTHED, label=f"lowest, at {rates[lowest]:.2g}")
    finite = losses[np.isfinite(losses)]
    if len(finite):  # the last losses explode, and would flatten all the rest
        top = max(sweep.first, float(np.quantile(finite, 0.8)))
        bottom = float(finite.min())
        axes.set_ylim(bottom - 0.08 * (top - bottom), top + 0.4 * (top - bottom))
    axes.set(xlabel="learning rate", ylabel="loss", title="Learning-rate finder")
    axes.grid(alpha=0.3, which="major")
    axes.legend(frameon=False)
    return figure
