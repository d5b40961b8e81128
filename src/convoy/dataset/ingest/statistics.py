"""Totals of what the workers report: counts, pixel statistics, sizes. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from convoy.dataset.ingest.moments import Moments, merged
from convoy.dataset.ingest.splits import SPLITS
from convoy.dataset.ingest.write import FileReport
from convoy.dataset.storage.manifest import FileEntry, SizeStatistics, SplitEntry
from convoy.images import ArraySpec, ImageProfile, quantile_bins

_FREQUENT = 200


def split_entries(reports: Sequence[FileReport], classes: Sequence[str]) -> dict[str, SplitEntry]:
    """Return each split that has rows, in the usual order, with its files in the order of their rows."""
    entries = {}
    for split in SPLITS:
        own = [report for report in reports if report.split == split and report.row_groups]
        if own:
            per_class = {name: sum(report.per_class[i] for report in own) for i, name in enumerate(classes)}
            files = [FileEntry(r.file, r.row_groups, r.bytes, r.sha256) for r in own]
            entries[split] = SplitEntry(sum(entry.rows for entry in files), per_class, files)
    return entries


def pixel_statistics(reports: Sequence[FileReport], spec: ArraySpec, rows: int) -> tuple[list[float], list[float]]:
    """Return the mean and (population) standard deviation of each channel of the training files.

    For uint8, the variance is computed from exact integer sums before any rounding: n * squares - sum**2, over n**2.
    The moments of other types are merged in the order of the files.
    """
    train = [report for report in reports if report.split == "train"]
    if spec.dtype != "uint8":
        moments = merged(Moments(**report.moments) for report in train if report.moments)
        return moments.mean, moments.std()
    pixels = rows * math.prod(spec.shape[:-1])
    mean, std = [], []
    for channel in range(spec.shape[-1]):
        total = sum(report.pixel_sum[channel] for report in train)
        squares = sum(report.pixel_squares[channel] for report in train)
        mean.append(total / pixels)
        std.append(math.sqrt(pixels * squares - total * total) / pixels)
    return mean, std


def class_weights(per_class: dict[str, int]) -> dict[str, float]:
    """Return weights that balance the classes: samples / (classes x samples of the class); 0 for an empty class.

    The same as scikit-learn's ``class_weight="balanced"``.
    """
    total, present = sum(per_class.values()), sum(count > 0 for count in per_class.values())
    return {name: total / (present * count) if count else 0.0 for name, count in per_class.items()}


def size_statistics(reports: Sequence[FileReport]) -> SizeStatistics | None:
    """Return the sizes before resizing, or None for arrays.

    Beyond 200 different sizes in a file, the rarest of that file are not counted.
    """
    counts = Counter[tuple[int, int]]()
    for report in reports:
        counts.update({(height, width): count for height, width, count in report.sizes})
    if not counts:
        return None
    total = sum(counts.values())
    heights, widths = [size[0] for size in counts], [size[1] for size in counts]
    return SizeStatistics(
        smallest=[min(heights), min(widths)],
        largest=[max(heights), max(widths)],
        mean=[
            sum(size[0] * count for size, count in counts.items()) / total,
            sum(size[1] * count for size, count in counts.items()) / total,
        ],
        frequent=[[*size, count] for size, count in counts.most_common(_FREQUENT)],
    )


def image_profile(reports: Sequence[FileReport]) -> ImageProfile | None:
    """Return the brightness and sizes of the training images, in bins, or None for arrays."""
    train = [report for report in reports if report.split == "train" and report.brightness]
    if not train:
        return None
    return ImageProfile(
        brightness=quantile_bins(_added_up(report.brightness for report in train)),
        height=quantile_bins(_added_up(report.heights for report in train)),
        width=quantile_bins(_added_up(report.widths for report in train)),
    )


def _added_up(pairs: Iterable[list[list[int]]]) -> Counter[int]:
    total = Counter[int]()
    for part in pairs:
        total.update({value: count for value, count in part})
    return total


def reasons(bad: Sequence[dict[str, Any]]) -> str:
    """Return the ten most frequent reasons, e.g. ``"truncated: 12, empty: 3"``."""
    counts = Counter(row["reason"] for row in bad)
    return ", ".join(f"{reason}: {count:,}" for reason, count in counts.most_common(10))
