"""Pictures of a dataset version: samples of each class, the class histogram, the sizes. Drawn without a display."""

import os
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convoy.dataset.codec import decode_column
from convoy.dataset.manifest import Manifest, SizeStatistics
from convoy.images import Geometry

FOLDER = "pictures"
_CLASSES = 20
_PER_CLASS = 8
_LINES = 4
_POINTS, _PIXELS = 1000, 256  # of an array that are drawn, at most


def draw_pictures(version_path: Path, manifest: Manifest) -> None:
    """Write ``pictures/samples.png``, ``classes.png`` and, of images, ``sizes.png`` into a version's folder."""
    folder = version_path / FOLDER
    os.makedirs(folder)
    figures = {"samples.png": sample_sheet(version_path, manifest), "classes.png": class_histogram(manifest)}
    if manifest.image is not None and manifest.sizes is not None:
        figures["sizes.png"] = size_scatter(manifest.sizes, manifest.image)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=80)


def sample_sheet(version_path: Path, manifest: Manifest) -> Figure:
    """Up to eight training samples of each of the first twenty classes, a row per class."""
    classes = manifest.classes[:_CLASSES]
    found: dict[int, list[np.ndarray]] = {label: [] for label in range(len(classes))}
    for entry in manifest.split("train").files[:1]:
        table = pq.ParquetFile(version_path / "train" / entry.name).read_row_group(0, columns=["image", "label"])
        labels = table.column("label").to_numpy()
        wanted = np.concatenate([np.flatnonzero(labels == label)[:_PER_CLASS] for label in found])
        column = table.column("image").take(wanted)
        images = np.concatenate(decode_column(column, manifest.codec, manifest.shape, dtype=manifest.dtype))
        for image, label in zip(images, labels[wanted], strict=True):
            found[int(label)].append(image)
    figure = Figure(figsize=(_PER_CLASS * 0.9 + 1.5, len(classes) * 0.9), layout="constrained")
    grid = figure.subplots(len(classes), _PER_CLASS, squeeze=False)
    for label, name in enumerate(classes):
        for column_index, axes in enumerate(grid[label]):
            axes.set_axis_off()
            if column_index < len(found[label]):
                sample = found[label][column_index]
                if manifest.image is None:
                    draw_array(axes, sample)
                else:
                    axes.imshow(sample.squeeze(2) if sample.shape[2] == 1 else sample, cmap="gray", vmin=0, vmax=255)
        grid[label][0].set_title(name[:30], loc="left", fontsize=9)
    return figure


def draw_array(axes: Axes, sample: np.ndarray) -> None:
    """Draw a signal (L, C) as lines, of up to four channels; else the first channel as an image, in its own range.

    Of volumes (D, H, W, C) the slice in the middle is drawn, and so along any further axes.
    """
    if sample.ndim == 2:
        axes.plot(sample[:: -(-len(sample) // _POINTS), :_LINES].astype(np.float64), linewidth=0.7)
        return
    while sample.ndim > 3:
        sample = sample[len(sample) // 2]
    rows, columns = (-(-side // _PIXELS) for side in sample.shape[:2])
    height, width = sample.shape[:2]
    aspect: Literal["auto", "equal"] = "auto" if max(height, width) > 4 * min(height, width) else "equal"
    axes.imshow(sample[::rows, ::columns, 0].astype(np.float64), cmap="gray", aspect=aspect)


def class_histogram(manifest: Manifest) -> Figure:
    """Samples of each class, stacked by split; beyond sixty classes without names."""
    count = len(manifest.classes)
    figure = Figure(figsize=(min(16.0, 4 + 0.25 * count), 4), layout="constrained")
    axes = figure.subplots()
    positions, base = np.arange(count), np.zeros(count)
    for split, entry in manifest.splits.items():
        rows = np.array([entry.per_class[name] for name in manifest.classes])
        axes.bar(positions, rows, bottom=base, label=f"{split} ({entry.rows:,})")
        base = base + rows
    if count <= 60:
        axes.set_xticks(positions, [name[:20] for name in manifest.classes], rotation=90 if count > 10 else 0)
    axes.set(xlabel="class", ylabel="samples")
    axes.legend(frameon=False)
    return figure


def size_scatter(statistics: SizeStatistics, target: Geometry) -> Figure:
    """The most frequent sizes before resizing; areas show how many images have each."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    sizes = np.array(statistics.frequent)
    axes.scatter(sizes[:, 1], sizes[:, 0], s=20 + 400 * sizes[:, 2] / sizes[:, 2].sum(), alpha=0.5)
    axes.plot(target.width, target.height, marker="+", color="black", markersize=14)
    axes.set(xlabel="width", ylabel="height", title="sizes before resizing (+ is the target)")
    axes.grid(alpha=0.3)
    return figure
