"""Checks whether the contents of a source, and the samples that could be read, are enough for a dataset."""

from typing import Any

from convoy.console import say
from convoy.dataset.ingest.scan import Scan
from convoy.dataset.ingest.statistics import reasons
from convoy.dataset.ingest.write import FileReport
from convoy.dataset.sources.listing import lookalikes
from convoy.errors import SourceError


def check_scan(scan: Scan, classes: list[str]) -> None:
    """Raise ``SourceError`` if the source cannot be used for training; warn of anything unusual. Decodes nothing."""
    if not scan.total:
        raise SourceError("the source has no images; expected some of every class")
    if not any(split == "train" for split, _ in scan.counts):
        raise SourceError(
            "no sample is left for training; give more images or lower dataset.validation_fraction and test_fraction"
        )
    if len(classes) < 2:
        raise SourceError(f"there is one class, {classes[0]!r}; a classifier needs two or more")
    if scan.duplicates.across_splits:
        say(f"warning: images in more than one split: {scan.duplicates.across_splits:,}; see dataset.on_leakage")
    if scan.duplicates.across_classes:
        say(f"warning: images under more than one class: {scan.duplicates.across_classes:,}")
    for alike in lookalikes(classes)[:3]:
        say(f"warning: are the classes {' and '.join(map(repr, alike))} the same? They differ only in case or spaces")
    if not any(split == "validation" for split, _ in scan.counts):
        say("warning: no image fell into the validation split, which training needs; raise dataset.validation_fraction")
    empty = sorted(set(classes) - {name for _, name in scan.counts})
    if empty:
        raise SourceError(f"class {empty[0]!r} has no images; add some, or leave the class out")
    trained = {name for split, name in scan.counts if split == "train"}
    if unseen := sorted(set(classes) - trained):
        where = ", ".join(f"{count:,} {split}" for (split, name), count in scan.counts.items() if name == unseen[0])
        more = f", nor have {len(unseen) - 1:,} other classes" if len(unseen) > 1 else ""
        say(f"warning: class {unseen[0]!r} has no training images, only {where}{more}; is the label right?")


def check_reports(
    reports: list[FileReport], classes: list[str], scan: Scan, max_bad_fraction: float
) -> list[dict[str, Any]]:
    """Return the samples that could not be used.

    Raises:
        SourceError: There are too many of them, or a class or the training split is left empty.
    """
    bad = [row for report in reports for row in report.bad]
    for label, name in enumerate(classes):
        if not any(report.per_class[label] for report in reports):
            why = reasons([row for row in bad if row["class_name"] == name])
            raise SourceError(f"class {name!r} has no readable image ({why}); fix the files or leave the class out")
    if not any(report.row_groups for report in reports if report.split == "train"):
        raise SourceError(f"no training image can be read ({reasons(bad)}); fix the files")
    if len(bad) > max_bad_fraction * scan.total:
        raise SourceError(
            f"{len(bad):,} of {scan.total:,} files cannot be used ({reasons(bad)}), more than"
            f" dataset.max_bad_fraction {max_bad_fraction:g}; nothing was published. For example"
            f" {bad[0]['path']!r}: {bad[0]['detail']}"
        )
    return bad
