"""Pictures of a dataset version: samples of each class, class histogram, image sizes. Drawn without a display."""

import io
import itertools
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convoy.dataset.storage.codec import decode_column
from convoy.dataset.storage.filesystem import Location, opened
from convoy.dataset.storage.manifest import Manifest, SizeStatistics
from convoy.images import Geometry

FOLDER = "pictures"
_CLASSES = 20
_PER_CLASS = 8
_BARS = 60  # most classes with a bar and a name each
_LABEL_GROUPS, _IMAGE_GROUPS = 1000, 16  # most row groups whose labels, and whose images, are read
_LINES, _SIDE = 4, 112
_POINTS, _PIXELS = 1000, 256  # most points and pixels of an array that are drawn; images are drawn with 112 to 223


def draw_pictures(version_path: Location, manifest: Manifest) -> None:
    """Write ``pictures/samples.png``, ``classes.png`` and, for images, ``sizes.png`` into a version's folder."""
    folder = version_path / FOLDER
    folder.mkdir()
    figures = {"samples.png": sample_sheet(version_path, manifest), "classes.png": class_histogram(manifest)}
    if manifest.image is not None and manifest.sizes is not None:
        figures["sizes.png"] = size_scatter(manifest.sizes, manifest.image)
    for name, figure in figures.items():
        picture = io.BytesIO()
        figure.savefig(picture, dpi=80, format="png")
        (folder / name).write_bytes(picture.getvalue())


def sample_sheet(version_path: Location, manifest: Manifest) -> Figure:
    """Draw up to eight training samples of each of the first twenty classes, one row per class."""
    found = _samples_of_classes(version_path, manifest)
    size = (_PER_CLASS * 0.9 + 1.5, len(found) * 0.9)
    if manifest.image is None:
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(found), _PER_CLASS, squeeze=False)
        for samples, row in zip(found, grid, strict=True):
            for axes, sample in itertools.zip_longest(row, samples):
                axes.set_axis_off()
                if sample is not None:
                    draw_array(axes, sample)
        first_of_rows = grid[:, 0]
    else:  # one picture per row: eight axes would take eight times as long
        strips = [strip(samples, manifest.image) for samples in found]
        bottom, top, gap = 0.02, 1 - 0.25 / size[1], 0.3
        row = size[1] * (top - bottom) / (len(strips) + gap * (len(strips) - 1))
        width = row * strips[0].shape[1] / strips[0].shape[0] / 0.96  # fills the rows, within a viewable size
        figure = Figure(figsize=(min(max(3.0, width), 16.0), size[1]))
        first_of_rows = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
        figure.subplots_adjust(0.02, bottom, 0.98, top, hspace=gap)
        for pixels, axes in zip(strips, first_of_rows, strict=True):
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
            axes.set_axis_off()
            axes.set_anchor("W")
    for name, axes in zip(manifest.classes, first_of_rows, strict=False):
        axes.set_title(name[:30], loc="left", fontsize=9, pad=2)
    return figure


def strip(images: list[np.ndarray], geometry: Geometry) -> np.ndarray:
    """Return images side by side on white, with room for eight: uint8 (H, W') or (H, W', 3)."""
    smaller = max(1, min(geometry.height, geometry.width) // _SIDE)
    images = [image[::smaller, ::smaller] for image in images]
    height, width, channels = -(-geometry.height // smaller), -(-geometry.width // smaller), geometry.channels
    step = width + max(1, width // 16)
    row = np.full((height, _PER_CLASS * step, channels), 255, np.uint8)
    for i, image in enumerate(images):
        row[:, i * step : i * step + width] = image
    return row.squeeze(2) if channels == 1 else row


def _samples_of_classes(version_path: Location, manifest: Manifest) -> list[list[np.ndarray]]:
    """Return samples of each of the first classes, from as few row groups as possible."""
    found: list[list[np.ndarray]] = [[] for _ in manifest.classes[:_CLASSES]]
    looked_into = 0
    for parquet, group in itertools.islice(_training_row_groups(version_path, manifest), _LABEL_GROUPS):
        labels = parquet.read_row_group(group, columns=["label"]).column("label").to_numpy()
        missing = [_PER_CLASS - len(samples) for samples in found]
        wanted = np.concatenate([np.flatnonzero(labels == label)[:count] for label, count in enumerate(missing)])
        if not any(missing) or looked_into == _IMAGE_GROUPS:
            break
        if not wanted.size:  # a rare class is in few row groups, and reading labels is fast
            continue
        looked_into += 1
        column = parquet.read_row_group(group, columns=["image"]).column("image").take(wanted)
        samples = np.concatenate(decode_column(column, manifest.codec, manifest.shape, dtype=manifest.dtype))
        for sample, label in zip(samples, labels[wanted], strict=True):
            found[int(label)].append(sample)
    return found


def _training_row_groups(version_path: Location, manifest: Manifest) -> Iterator[tuple[pq.ParquetFile, int]]:
    for entry in manifest.split("train").files:
        with opened(version_path / "train" / entry.name) as file, pq.ParquetFile(file) as parquet:
            for group in range(parquet.num_row_groups):
                yield parquet, group


def draw_array(axes: Axes, sample: np.ndarray) -> None:
    """Draw a signal (L, C) as lines, of up to four channels; else the first channel as an image, in its own range.

    Of volumes (D, H, W, C), and of any array with more axes, the middle slice is drawn.
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
    """Draw the number of samples of each class, stacked by split; beyond sixty classes without names."""
    count = len(manifest.classes)
    figure = Figure(figsize=(min(16.0, 4 + 0.25 * count), 4), layout="constrained")
    axes = figure.subplots()
    positions, base = np.arange(count), np.zeros(count)
    for split, entry in manifest.splits.items():
        rows = np.array([entry.per_class[name] for name in manifest.classes])
        label = f"{split} ({entry.rows:,})"
        if count <= _BARS:
            axes.bar(positions, rows, bottom=base, label=label)
        else:  # one shape per split instead of one per class
            axes.stairs(base + rows, np.arange(count + 1) - 0.5, baseline=base, fill=True, label=label)
        base = base + rows
    if count <= _BARS:
        axes.set_xticks(positions, [name[:20] for name in manifest.classes], rotation=90 if count > 10 else 0)
    axes.set(xlabel="class", ylabel="samples")
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)  # above, so that it hides no bar
    return figure


def size_scatter(statistics: SizeStatistics, target: Geometry) -> Figure:
    """Draw the most frequent sizes before resizing; the area of a marker shows how many images have that size."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    sizes = np.array(statistics.frequent)
    axes.scatter(sizes[:, 1], sizes[:, 0], s=20 + 400 * sizes[:, 2] / sizes[:, 2].sum(), alpha=0.5)
    axes.plot(target.width, target.height, marker="+", color="black", markersize=14)
    axes.set(xlabel="width", ylabel="height", title="sizes before resizing (+ is the target)")
    if sizes[:, :2].max() > 20 * sizes[:, :2].min():
        axes.set(xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    return figure
