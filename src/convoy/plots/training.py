"""Pictures of a run. Drawn without a display."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

_TRAIN, _VALIDATION = "#1f6f8b", "#e07a3f"


def training_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw loss and accuracy of training and validation over the epochs.

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
            ring = {"marker": "o", "markersize": 10, "fillstyle": "none", "linestyle": "none", "color": _VALIDATION}
            label = f"best: {best[where]:.4f}, epoch {epochs[where]}"  # in the legend, where it hides no curve
            axes.plot(epochs[where], best[where], **ring, label=label)
        axes.set(xlabel="epoch", title=metric)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.margins(y=0.15)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False)
    return figure


def augmented_sheet(images: np.ndarray, augmenter: Callable[..., tuple[Any, Any]], epochs: int = 8) -> Figure:
    """Draw a split's first images as augmented in the first epochs: a row per image, the original at the left.

    Args:
        images: uint8 (N, H, W, C), C 1 or 3: samples 0 to N - 1 of the training split. They are each other's partners
            in Mixup; the share of the own image is written above.
        augmenter: ``Augmenter`` of the training.
        epochs: Number of columns beside the original.
    """
    count, height, width, channels = images.shape
    rows = np.arange(count, dtype=np.int64)
    cell = 1.1
    figure = Figure(figsize=(cell * (epochs + 1), cell * count * (height / width) + 0.6), layout="constrained")
    grid = figure.subplots(count, epochs + 1, squeeze=False)
    for column in range(epochs + 1):
        if column == 0:
            shown, shares = images, np.ones(count)
        else:
            partner = (rows + 1 + (column - 1) % max(1, count - 1)) % count
            found = augmenter(np.int64(column - 1), rows, images, images[partner])
            shown, shares = (np.asarray(values) for values in found)
        for axes, image, share in zip(grid[:, column], shown, shares, strict=True):
            axes.imshow(image[..., 0] if channels == 1 else image, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            if share < 1:
                axes.set_xlabel(f"{share:.0%}", fontsize=7, labelpad=2)
        grid[0, column].set_title(f"epoch {column}" if column else "original", fontsize=9)
    return figure


def confusion_picture(confusion: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix: rows are true classes, columns predictions, colours the share of the true class.

    Args:
        confusion: int (K, K) counts, or (K, K + 1) with a last column for predictions of all other classes.
        classes: K names.
        title: Title above the picture.
    """
    count = len(classes)
    side = min(16.0, 3.0 + 0.5 * count)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    # Colours by the square root of the share: otherwise the few errors of a good model would be invisible.
    image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    if count <= 30:
        for row in range(count):
            for column in range(confusion.shape[1]):
                if confusion[row, column]:
                    colour = "white" if share[row, column] > 0.3 else "black"
                    text = f"{confusion[row, column]:,}"
                    axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    if count <= 60:
        labels = [label_text(name) for name in classes]
        columns = [*labels, "all others"][: confusion.shape[1]]
        axes.set_xticks(range(len(columns)), columns, rotation=90 if max(map(len, columns)) > 2 else 0)
        axes.set_yticks(range(count), labels)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    return figure


def label_text(name: str) -> str:
    """Format a class name for Matplotlib: short, and not interpreted as mathematics."""
    return (name if len(name) <= 24 else name[:23] + "…").replace("$", r"\$")
