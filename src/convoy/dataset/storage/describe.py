"""Datasets, versions and differences, as text for people."""

from typing import Any

from convoy.console import Table
from convoy.dataset.storage.diff import Diff
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import DatasetError
from convoy.images import ValueRange

_CHANNELS = 8
_MOST_CLASSES = 50  # rows of the table of classes


def describe_version(path: Location, latest: bool) -> dict[str, Any]:
    """Return the entry of a version for ``list``: its contents, or ``problem`` if its manifest cannot be read."""
    entry = {"dataset": path.parent.name, "version": path.name, "latest": latest}
    try:
        manifest = Manifest.load(path)
    except DatasetError as error:
        return {**entry, "problem": str(error)}
    return {
        **entry,
        "created": manifest.created,
        "rows": manifest.rows(),
        "classes": len(manifest.classes),
        "quarantined": manifest.quarantined,
        "bytes": sum(file.bytes for split in manifest.splits.values() for file in split.files),
    }


def version_table(entries: list[dict[str, Any]]) -> Table:
    """Return a table of versions, one per row; ``*`` marks the one that ``latest`` refers to."""
    header = ["dataset", "version", "", "created", "rows", "classes", "quarantined", "size"]
    rows = []
    for entry in entries:
        cells = [entry["dataset"], entry["version"], "*" if entry["latest"] else ""]
        if "problem" in entry:
            rows.append([*cells, entry["problem"], "", "", "", ""])
        else:
            splits = ", ".join(f"{count:,} {split}" for split, count in entry["rows"].items())
            numbers = [f"{entry['classes']:,}", f"{entry['quarantined']:,}", size(entry["bytes"])]
            rows.append([*cells, entry["created"], splits, *numbers])
    return Table(rows, header, align="<<<<<>>>")


def manifest_summary(path: Location, manifest: Manifest) -> list[str | Table]:
    """Summarise a manifest: geometry, origin, tools, and a table of classes by split."""
    shape = "x".join(map(str, manifest.shape))
    images = f"{shape} ({manifest.image.resize})" if manifest.image else f"{shape} {manifest.dtype} arrays"
    facts = [
        ["dataset", f"{manifest.name} {manifest.version}"],
        ["folder", str(path)],
        ["created", manifest.created],
        ["source", _pairs(manifest.source)],
        ["images" if manifest.image else "samples", f"{images}, codec {manifest.codec}"],
        *(
            [["value range", str(manifest.image.value_range)]]
            if manifest.image and manifest.image.value_range != ValueRange()
            else []
        ),
        ["pixel mean", _numbers(manifest.pixel_mean, manifest)],
        ["pixel std", _numbers(manifest.pixel_std, manifest)],
        *([["weights", "column weight"]] if manifest.weighted else []),
        ["quarantined", f"{manifest.quarantined:,}"],
        ["tools", _pairs(manifest.tools)],
    ]
    for name, split in manifest.splits.items():
        stored = size(sum(file.bytes for file in split.files))
        groups = sum(len(file.row_groups) for file in split.files)
        facts.append([name, f"rows {split.rows:,}, files {len(split.files):,}, row groups {groups:,}, {stored}"])
    counts = [
        [name, *(f"{split.per_class.get(name, 0):,}" for split in manifest.splits.values())]
        for name in manifest.classes[:_MOST_CLASSES]
    ]
    if (more := len(manifest.classes) - _MOST_CLASSES) > 0:
        counts.append([f"... and {more:,} more", *[""] * len(manifest.splits)])
    return [Table(facts), "", Table(counts, ["class", *manifest.splits], align="<" + ">" * len(manifest.splits))]


def diff_summary(difference: Diff) -> list[str | Table]:
    """Return tables of the counts of samples, and of the settings that differ."""
    counts = [
        ["unchanged", f"{difference.unchanged:,}", ""],
        ["added", f"{difference.added:,}", ""],
        ["removed", f"{difference.removed:,}", ""],
        ["renamed", f"{difference.renamed:,}", "same content, other path"],
        ["changed content", f"{difference.changed_content:,}", "same path, other bytes"],
        ["changed split", f"{difference.changed_split:,}", "same path"],
        ["changed label", f"{difference.changed_label:,}", "same path"],
        ["changed weight", f"{difference.changed_weight:,}", "same path"],
    ]
    found: list[str | Table] = [Table(counts, ["samples", "", ""], align="<>")]
    if difference.settings:
        rows = [[name, _value(before), _value(after)] for name, (before, after) in difference.settings.items()]
        found += ["", Table(rows, ["setting", "before", "after"])]
    return found


def size(number: int) -> str:
    """Format a number of bytes."""
    if number < 1024:
        return f"{number} B"
    value, units = number / 1024, ["KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:,.1f} {units[0]}"


def _numbers(values: list[float], manifest: Manifest) -> str:
    """Format the values of the first eight channels: pixels with two decimals, other values with four digits."""
    shown = [f"{value:.2f}" if manifest.image else f"{value:.4g}" for value in values[:_CHANNELS]]
    return ", ".join(shown) + (f", ... ({len(values):,} channels)" if len(values) > _CHANNELS else "")


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _value(value: Any) -> str:
    text = "-" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
