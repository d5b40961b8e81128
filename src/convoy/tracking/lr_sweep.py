"""Log a learning rate sweep to its run."""

from collections.abc import Sequence
from itertools import zip_longest

from matplotlib.figure import Figure

from convoy.tracking.run import TrainingRun

PICTURE = "learning_rate_finder.png"


def log_sweep(
    run: TrainingRun,
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    suggestion: float | None,
    curve: Figure,
) -> None:
    """Log the curve as a figure and the losses as metrics of each update; then the suggestion, also as a tag.

    Args:
        run: The run.
        rates: Learning rate of each update.
        losses: Loss after each update.
        smoothed: The finite losses, smoothed.
        suggestion: The suggested rate; None if the loss did not fall.
        curve: The figure.
    """
    for number, (rate, loss, mean) in enumerate(zip_longest(rates, losses, smoothed), 1):
        values = {"finder_learning_rate": rate, "finder_loss": loss, "finder_smoothed_loss": mean}
        run.log_update(number, {name: float(value) for name, value in values.items() if value is not None})
    tags = {"convoy.purpose": "learning-rate finder: a sweep, no trained model"}
    if suggestion is not None:
        run.log_update(len(rates), {"suggested_learning_rate": suggestion})
        tags["suggested_learning_rate"] = f"{suggestion:g}"
    run.flush()
    run.set_tags(tags)
    run.log_figure(curve, PICTURE)
