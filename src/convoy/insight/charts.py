"""Charts of the report that are not in ``plots.training``. Drawn without a display."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from convoy.config import TrainingConfig
from convoy.evaluation.calibration import Reliability
from convoy.plots.training import label_text
from convoy.training.optim.accumulation import updates_per_epoch
from convoy.training.optim.schedule import learning_rate

_BLUE, _ORANGE = "#1f6f8b", "#e07a3f"
_POINTS = 200
_LEGEND = 12  # most lines that a legend names


def rate_curve(config: TrainingConfig, rows: int, rates: Sequence[float]) -> Figure:
    """Draw the learning rate: as planned for each update, and as it was at each epoch's end.

    Args:
        config: Section ``training``.
        rows: Samples of an epoch.
        rates: One for each epoch trained.
    """
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    plan = learning_rate(config, rows)
    if callable(plan):
        updates = updates_per_epoch(rows, config.global_batch_size, config.accumulation_steps)
        steps = np.unique(np.linspace(0, updates * config.epochs - 1, _POINTS).round().astype(int))
        axes.plot((steps + 1) / updates, np.asarray(plan(steps)), color=_BLUE, label="schedule", linewidth=1.5)
    epochs = np.arange(1, len(rates) + 1)
    line = "none" if callable(plan) else "-"
    axes.plot(epochs, rates, marker="o", markersize=4, linestyle=line, color=_ORANGE, label="at the epoch's end")
    axes.set(xlabel="epoch", ylabel="learning rate")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def reliability_diagram(found: Reliability) -> Figure:
    """Draw accuracy over confidence, and the number of samples in each bin (Guo et al. 2017, figure 1)."""
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    width = np.diff(found.edges)
    middle = found.edges[:-1] + width / 2
    filled = found.counts > 0
    accuracy, confidence = found.accuracy[filled], found.confidence[filled]
    above.bar(middle[filled], accuracy, width[filled] * 0.94, color=_BLUE, label="accuracy")
    above.bar(
        middle[filled],
        confidence - accuracy,
        width[filled] * 0.94,
        bottom=accuracy,
        color=(0.88, 0.48, 0.25, 0.25),
        edgecolor=_ORANGE,
        hatch="//",
        linewidth=0.8,
        label="gap to the confidence",
    )
    above.plot([0, 1], [0, 1], color="#555", linestyle="--", linewidth=1)
    above.set(ylabel="share that is right", ylim=(0, 1.02), xlim=(0, 1))
    above.set_title(f"expected calibration error {found.expected_error:.2%}", fontsize=11)
    above.legend(frameon=False, loc="upper left")
    above.grid(alpha=0.3)
    below.bar(middle[filled], found.counts[filled], width[filled] * 0.94, color="#7d8590")
    below.set(xlabel="confidence: probability of the predicted class", ylabel="samples", yscale="log", ylim=(0.7, None))
    below.grid(alpha=0.3)
    return figure


def layers_by_epoch(
    values: Mapping[str, Sequence[float]], ylabel: str, *, log: bool = False, limit: float | None = None
) -> Figure:
    """Draw a line for each layer, the first dark, the last bright.

    Args:
        values: Layer, in order of depth -> a value for each epoch, nan if there is none.
        ylabel: Name of the values.
        log: Whether the axis is logarithmic.
        limit: Position of a dashed line; the values are shares then.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.subplots()
    palette = matplotlib.colormaps["viridis"]
    for i, (name, line) in enumerate(values.items()):
        colour = palette(0.92 * i / max(1, len(values) - 1))
        epochs = np.arange(1, len(line) + 1)
        shown = np.where(np.asarray(line) > 0, line, np.nan) if log else np.asarray(line)
        axes.plot(epochs, shown, marker="o", markersize=4, linewidth=1.4, color=colour, label=label_text(name))
    if limit is not None:
        axes.axhline(limit, color="#c0392b", linestyle="--", linewidth=1)
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if log:
        axes.set_yscale("log")
    axes.set(xlabel="epoch", ylabel=ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if len(values) <= _LEGEND:
        figure.legend(frameon=False, loc="outside right upper", fontsize=9)
    else:
        bar = matplotlib.cm.ScalarMappable(Normalize(1, len(values)), palette)
        figure.colorbar(bar, ax=axes, label=f"layer, 1 to {len(values)}")
    return figure
