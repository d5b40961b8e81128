"""The columns of every source's listing, and the rules for class names."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

import pyarrow as pa

LISTING_SCHEMA = pa.schema([(name, pa.string()) for name in ("path", "name", "class_name", "split")])
LISTING = ", ".join(f"{name} string" for name in LISTING_SCHEMA.names)

MAX_CLASSES = 100_000
"""A column with more different labels is taken for a wrong one, before the labels fill the driver's memory."""

_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)
_NOT_IN_A_NAME = re.compile(r"[/\\\x00-\x1f\x7f]")
LABEL_EXPECTED = "expected a plain name, without slashes or control characters, and not only dots"


def is_label(text: str) -> bool:
    """Return whether a text can be the name of a class: it has to be valid as the name of a folder."""
    return bool(text.strip(" .")) and not _NOT_IN_A_NAME.search(text)


def sorted_classes(names: Iterable[str]) -> list[str]:
    """Sort class names: by value if all are integers, so that of 0 to 99 label 10 has index 10; else as strings."""
    distinct = set(names)
    numbers = all(_INTEGER.fullmatch(name) for name in distinct)
    return sorted(distinct, key=int) if numbers else sorted(distinct)


def lookalikes(names: Iterable[str]) -> list[list[str]]:
    """Return groups of class names that look the same: they differ only in case, spaces or Unicode normalisation."""
    groups = defaultdict(list)
    for name in sorted(names):
        groups[unicodedata.normalize("NFKC", "".join(name.split())).casefold()].append(name)
    return [group for group in groups.values() if len(group) > 1]
