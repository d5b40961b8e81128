"""Pictures that explain a run. Drawn without a display."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

_TRAIN, _VALIDATION = "#1f6f8b", "#e07a3f"


def training_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Loss and accuracy of training and validation over the epochs.

    Args:
        history: For each epoch, ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = np.arange(1, len(history) + 1)
    for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for name, label, colour in ((metric, "training", _TRAIN), (f"val_{metric}", "validation", _VALIDATION)):
            values = [row[name] for row in history if name in row]
            if values:
                axes.plot(epochs[: len(values)], values, marker="o", markersize=4, label=label, color=colour)
        best = [row.get(f"val_{metric}", np.nan) for row in history]
        if best and np.isfinite(best).any():
            where = int(np.nanargmin(best) if metric == "loss" else np.nanargmax(best))
            below = metric == "accuracy"  # validation tends to be the lower of the two curves, or the upper of losses
            axes.annotate(
                f"{best[where]:.4f}",
                (epochs[where], best[where]),
                textcoords="offset points",
                xytext=(0, -14 if below else 8),
                ha="center",
                color=_VALIDATION,
            )
        axes.set(xlabel="epoch", title=metric)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.margins(y=0.15)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return figure


def confusion_picture(confusion: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """A confusion matrix: rows are true classes, columns predictions, colours the share of the true class.

    Args:
        confusion: int (K, K) counts.
        classes: K names.
        title: Above the picture.
    """
    count = len(classes)
    side = min(16.0, 3.0 + 0.5 * count)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    if count <= 30:
        for row in range(count):
            for column in range(count):
                if confusion[row, column]:
                    colour = "white" if share[row, column] > 0.5 else "black"
                    text = f"{confusion[row, column]:,}"
                    axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    if count <= 60:
        labels = [label_text(name) for name in classes]
        axes.set_xticks(range(count), labels, rotation=90 if max(map(len, labels)) > 2 else 0)
        axes.set_yticks(range(count), labels)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    return figure


def label_text(name: str) -> str:
    """A class name as Matplotlib can draw it: short, and not read as mathematics."""
    return (name if len(name) <= 24 else name[:23] + "…").replace("$", r"\$")
