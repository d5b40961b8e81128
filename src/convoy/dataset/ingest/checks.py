"""Checks whether the contents of a source, and the samples that could be read, are enough for a dataset."""

import math
import re
import unicodedata
from collections import Counter
from typing import Any

from convoy.console import say
from convoy.dataset.ingest.scan import Scan
from convoy.dataset.ingest.statistics import reasons
from convoy.dataset.ingest.values import FIELD
from convoy.dataset.ingest.write import FileReport
from convoy.dataset.sources.labels import check_class_names, label_warnings
from convoy.dataset.sources.listing import lookalikes
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import SourceError
from convoy.images import OBSERVATIONS, REPAIRS

_SMALL_SHARE = 0.1
_UNIFORM = math.sqrt(12)
"""Range of evenly spread values, in standard deviations."""


def check_classes(classes: list[str]) -> None:
    """Raise ``SourceError`` for one class, or classes that look the same; warn of unusual names. Reads no image."""
    if len(classes) < 2:
        raise SourceError(f"there is one class, {classes[0]!r}; a classifier needs two or more")
    check_class_names(classes)
    for alike in lookalikes(classes)[:3]:
        say(f"warning: are the classes {' and '.join(map(repr, alike))} the same? They differ only in case or spaces")
    for line in label_warnings(classes):
        say(line)


def check_scan(scan: Scan, classes: list[str]) -> None:
    """Raise ``SourceError`` if the source cannot be used for training; warn of anything unusual. Decodes nothing."""
    if not scan.total:
        raise SourceError("the source has no images; expected some of every class")
    if not any(split == "train" for split, _ in scan.counts):
        raise SourceError(
            "no sample is left for training; give more images or lower dataset.validation_fraction and test_fraction"
        )
    if scan.duplicates.across_splits:
        say(f"warning: images in more than one split: {scan.duplicates.across_splits:,}; see dataset.on_leakage")
    if scan.total >= 20 and 2 * len(classes) > scan.total:
        say(f"warning: there are {len(classes):,} classes for {scan.total:,} images; most have one image")
    if not any(split == "validation" for split, _ in scan.counts):
        say("warning: no image fell into the validation split, which training needs; raise dataset.validation_fraction")
    empty = sorted(set(classes) - {name for _, name in scan.counts})
    if empty:
        raise SourceError(f"class {empty[0]!r} has no images; add some, or leave the class out")
    trained = {name for split, name in scan.counts if split == "train"}
    if scan.given and len(trained) == 1 and len(classes) > 1:
        raise SourceError(
            f"there are training images of one class, {min(trained)!r}, and none of the others, such as"
            f" {min(set(classes) - trained)!r}; a classifier needs two or more"
        )
    for split in sorted(scan.given - {"train"}):
        _check_split(split, trained, {name for known, name in scan.counts if known == split})
    if unseen := sorted(set(classes) - trained):
        where = ", ".join(f"{count:,} {split}" for (split, name), count in scan.counts.items() if name == unseen[0])
        more = f", nor have {len(unseen) - 1:,} other classes" if len(unseen) > 1 else ""
        say(f"warning: class {unseen[0]!r} has no training images, only {where}{more}; is the label right?")


def _check_split(split: str, trained: set[str], there: set[str]) -> None:
    """Raise ``SourceError`` if the classes of a split are those for training, written in another way, or none of them.

    Classes whose names differ only in case are two classes, unless each split has only one of them.
    """
    unseen, alike = there - trained, {_loose(name): name for name in trained - there}
    if other := next((name for name in sorted(unseen) if _loose(name) in alike), None):
        raise SourceError(
            f"the split {split} has the class {other!r}, and training has {alike[_loose(other)]!r}; expected the same"
            " names in all splits: rename one"
        )
    if there and there == unseen:
        raise SourceError(
            f"no class of the split {split}, such as {min(there)!r}, has training images, such as {min(trained)!r} has;"
            " expected the same classes: correct the names, or leave the split out"
        )


def _loose(name: str) -> str:
    """Return a name without case, signs between words and zeros before numbers."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\W_]+", "", plain)) or plain


def check_channels(manifest: Manifest) -> None:
    """Raise ``SourceError`` if a channel of the training samples is constant; warn if it uses little of the range."""
    colours = ("red", "green", "blue") if manifest.image and len(manifest.pixel_std) == 3 else ()
    names = colours or [f"channel {i}" for i in range(len(manifest.pixel_std))]
    what = "images" if manifest.image else "arrays"
    dull = []
    for name, mean, std in zip(names, manifest.pixel_mean, manifest.pixel_std, strict=True):
        if std == 0:
            raise SourceError(
                f"{name} has one value, {mean:g}, in all training {what}, from which nothing can be learned; check the"
                f" {what}" + (f", and {FIELD} if they have more than 8 bits" if manifest.image else "")
            )
        if manifest.image and (used := std * _UNIFORM) < _SMALL_SHARE * 255:
            low, high = (round(max(0.0, min(255.0, mean + side * used / 2))) for side in (-1, 1))
            dull.append(f"{name} about {low} to {high}")
    if dull:
        say(
            f"warning: the training images use under a tenth of the range 0 to 255: {', '.join(dull)}; if they have"
            f" more than 8 bits, set {FIELD} to the range of their values, e.g. '[0, 4095]'"
        )


def report_notes(reports: list[FileReport]) -> dict[str, int]:
    """Print how many images were repaired, or look as if their pixels were not as intended; return the counts."""
    counts = Counter[str]()
    examples: dict[str, str] = {}
    for report in reports:
        for note, (count, example) in sorted(report.notes.items()):
            counts[note] += count
            examples.setdefault(note, example)
    for note, count in sorted(counts.items()):
        if note in REPAIRS:
            say(f"ingest: repaired {count:,} images: {REPAIRS[note]}; for example {examples[note]!r}")
        else:
            say(f"warning: {count:,} images, for example {examples[note]!r}: {OBSERVATIONS[note]}")
    return dict(sorted(counts.items()))


def check_reports(
    reports: list[FileReport], classes: list[str], scan: Scan, max_bad_fraction: float
) -> list[dict[str, Any]]:
    """Return the samples that could not be used.

    Raises:
        SourceError: There are too many of them, a class or the training split is left empty, or the rows have changed.
    """
    bad = [row for report in reports for row in report.bad]
    if (found := len(bad) + sum(sum(report.per_class) for report in reports)) != scan.total:
        raise SourceError(
            f"the source had {scan.total:,} rows when it was listed, and {found:,} when they were written; expected the"
            " same rows each time: cache a DataFrame whose rows are not, e.g. df.cache(), or write it to a table first"
        )
    for label, name in enumerate(classes):
        if not any(report.per_class[label] for report in reports):
            why = reasons([row for row in bad if row["class_name"] == name])
            raise SourceError(
                f"class {name!r} has no readable image ({why}); fix the files or leave the class out."
                f" {_example([row for row in bad if row['class_name'] == name])}"
            )
    if not any(report.row_groups for report in reports if report.split == "train"):
        raise SourceError(f"no training image can be read ({reasons(bad)}); fix the files. {_example(bad)}")
    if len(bad) > max_bad_fraction * scan.total:
        raise SourceError(
            f"{len(bad):,} of {scan.total:,} files cannot be used ({reasons(bad)}), more than"
            f" dataset.max_bad_fraction {max_bad_fraction:g}; nothing was published. {_example(bad)}"
        )
    return bad


def _example(bad: list[dict[str, Any]]) -> str:
    """Return one path of the most frequent reason, with its detail."""
    if not bad:
        return ""
    reason, _ = Counter(row["reason"] for row in bad).most_common(1)[0]
    row = next(row for row in bad if row["reason"] == reason)
    return f"For example {row['path']!r}: {row['detail']}"
