"""What the workers report, added up: counts, pixel statistics, sizes. Pure."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from convoy.dataset.manifest import FileEntry, SizeStatistics, SplitEntry
from convoy.dataset.splits import SPLITS
from convoy.dataset.write import FileReport

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


def pixel_statistics(
    reports: Sequence[FileReport], shape: tuple[int, int, int], rows: int
) -> tuple[list[float], list[float]]:
    """Mean and (population) standard deviation of each channel from the training files' exact integer sums.

    The variance is formed from integers before any rounding: n * squares - sum**2, over n**2.
    """
    pixels = rows * shape[0] * shape[1]
    train = [report for report in reports if report.split == "train"]
    mean, std = [], []
    for channel in range(shape[2]):
        total = sum(report.pixel_sum[channel] for report in train)
        squares = sum(report.pixel_squares[channel] for report in train)
        mean.append(total / pixels)
        std.append(math.sqrt(pixels * squares - total * total) / pixels)
    return mean, std


def class_weights(per_class: dict[str, int]) -> dict[str, float]:
    """Weights that make every class count alike: samples / (classes x samples of the class); 0 for an empty class.

    The same as scikit-learn's ``class_weight="balanced"``.
    """
    total, present = sum(per_class.values()), sum(count > 0 for count in per_class.values())
    return {name: total / (present * count) if count else 0.0 for name, count in per_class.items()}


def size_statistics(reports: Sequence[FileReport]) -> SizeStatistics:
    """Sizes before resizing. Beyond 200 different sizes in a file, the rarest of that file are not counted."""
    counts = Counter[tuple[int, int]]()
    for report in reports:
        counts.update({(height, width): count for height, width, count in report.sizes})
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


def reasons(bad: Sequence[dict[str, Any]]) -> str:
    """The ten most frequent reasons, e.g. ``"truncated: 12, empty: 3"``."""
    counts = Counter(row["reason"] for row in bad)
    return ", ".join(f"{reason}: {count:,}" for reason, count in counts.most_common(10))
