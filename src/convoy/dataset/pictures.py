"""Pictures of a dataset version: samples of each class, the class histogram, the sizes. Drawn without a display."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from convoy.dataset.codec import decode_column
from convoy.dataset.manifest import Manifest

FOLDER = "pictures"
_CLASSES = 20
_PER_CLASS = 8
_LABEL_GROUPS, _IMAGE_GROUPS = 1000, 16  # row groups that are searched, and whose images are read, at most


def draw_pictures(version_path: Path, manifest: Manifest) -> None:
    """Write ``pictures/samples.png``, ``classes.png`` and ``sizes.png`` into a version's folder."""
    folder = version_path / FOLDER
    os.makedirs(folder)
    figures = {
        "samples.png": sample_sheet(version_path, manifest),
        "classes.png": class_histogram(manifest),
        "sizes.png": size_scatter(manifest),
    }
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=80)


def sample_sheet(version_path: Path, manifest: Manifest) -> Figure:
    """Up to eight training images of each of the first twenty classes, a row per class."""
    classes = manifest.classes[:_CLASSES]
    found: dict[int, list[np.ndarray]] = {label: [] for label in range(len(classes))}
    looked_into = 0
    for parquet, group in itertools.islice(_training_row_groups(version_path, manifest), _LABEL_GROUPS):
        labels = parquet.read_row_group(group, columns=["label"]).column("label").to_numpy()
        missing = {label: _PER_CLASS - len(images) for label, images in found.items()}
        wanted = np.concatenate([np.flatnonzero(labels == label)[:count] for label, count in missing.items()])
        if not any(missing.values()) or looked_into == _IMAGE_GROUPS:
            break
        if not wanted.size:  # a rare class is in few row groups, and labels are quickly read
            continue
        looked_into += 1
        column = parquet.read_row_group(group, columns=["image"]).column("image").take(wanted)
        images = np.concatenate(decode_column(column, manifest.codec, manifest.image.shape))
        for image, label in zip(images, labels[wanted], strict=True):
            found[int(label)].append(image)
    figure = Figure(figsize=(_PER_CLASS * 0.9 + 1.5, len(classes) * 0.9), layout="constrained")
    grid = figure.subplots(len(classes), _PER_CLASS, squeeze=False)
    for label, name in enumerate(classes):
        for column_index, axes in enumerate(grid[label]):
            axes.set_axis_off()
            if column_index < len(found[label]):
                image = found[label][column_index]
                axes.imshow(image.squeeze(), cmap="gray" if image.shape[2] == 1 else None, vmin=0, vmax=255)
        grid[label][0].set_title(name[:30], loc="left", fontsize=9)
    return figure


def _training_row_groups(version_path: Path, manifest: Manifest) -> Iterator[tuple[pq.ParquetFile, int]]:
    for entry in manifest.split("train").files:
        with pq.ParquetFile(version_path / "train" / entry.name) as parquet:
            for group in range(parquet.num_row_groups):
                yield parquet, group


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
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)  # above, so as to hide no bar
    return figure


def size_scatter(manifest: Manifest) -> Figure:
    """The most frequent sizes before resizing; areas show how many images have each."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    sizes = np.array(manifest.sizes.frequent)
    axes.scatter(sizes[:, 1], sizes[:, 0], s=20 + 400 * sizes[:, 2] / sizes[:, 2].sum(), alpha=0.5)
    axes.plot(manifest.image.width, manifest.image.height, marker="+", color="black", markersize=14)
    axes.set(xlabel="width", ylabel="height", title="sizes before resizing (+ is the target)")
    if sizes[:, :2].max() > 20 * sizes[:, :2].min():
        axes.set(xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    return figure
