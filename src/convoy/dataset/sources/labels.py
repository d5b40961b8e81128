"""Labels that are not classes: several in one text, numbers and times to predict, names of single images. Pure."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping

from convoy.errors import SourceError

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_PADDED = re.compile(r"[+-]?0\d.*", re.DOTALL)  # as ids are written: 0042
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_TIME = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}[ T]\d{1,2}:\d{2}.*", re.DOTALL)
_UNIT = re.compile(r"(patient|subject|case|study|series|scan|slide|frame|video|clip)s?[ _-]?\d+", re.IGNORECASE)
_LIST = re.compile(r"\[.*\]|\{.*\}|\(.*,.*\)", re.DOTALL)
_WRITTEN_LIST = re.compile(r".\s*(['\"].*|.*,.*|\d*\s*).", re.DOTALL)
_SEPARATORS = ("|", ";", ",", "+", "&", " ")
_FEW_FRACTIONS = 20
"""More different numbers with decimal places are values to predict."""
_MANY_NUMBERS, _FEW_IMAGES = 30, 5
"""More whole numbers with fewer images each, and with gaps between them, are values too."""
_FEW_ROWS = 20
"""Of fewer rows, each may well have a class of its own."""
_LETTERS = str.maketrans(
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0430\u0435\u043e\u0440\u0441\u0443"
    "\u0445\u0456\u0458\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf",
    "ABEKMHOPCTXaeopcyxijABEZHIKMNOPTYXo",
)
"""Cyrillic and Greek letters that look like Latin ones."""
_SIGNS = str.maketrans("\u2018\u2019\u02bc`\u00b4\u201c\u201d", 5 * "'" + 2 * '"')
"""Quotation marks."""
_HIDDEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0]")
"""Fillers and selectors of variants, which are not in the category of characters without width."""


def check_labels(rows: Mapping[str, int], what: str, where: str = "source.columns.label") -> None:
    """Raise ``SourceError`` if labels are recognised as something else than one class of several images.

    Args:
        rows: Label -> number of rows.
        what: The source, for messages.
        where: The field that names the labels.
    """
    count, total = len(rows), sum(rows.values())
    if several := combined(rows):
        label, parts = several
        raise SourceError(
            f"{what}: the label {label!r} seems to hold several classes; expected one in each row, and models with"
            f" several are not supported: use a column with one label, such as {parts[0]!r} ({where}), or leave the"
            " rows with several out of a manifest with columns path and label"
        )
    if all(map(_TIME.fullmatch, rows)):
        raise SourceError(
            f"{what}: the labels are times, such as {min(rows)!r}; expected classes: name another column ({where})"
        )
    numbers = all(map(_NUMBER.fullmatch, rows)) and not any(map(_PADDED.fullmatch, rows))
    fractions = numbers and not all(float(label).is_integer() for label in rows)
    nearly_unique = total >= _FEW_ROWS and 2 * count > total
    sparse = count > _MANY_NUMBERS and total < _FEW_IMAGES * count and _are_no_ids(rows)
    if numbers and (nearly_unique or sparse or (fractions and count > _FEW_FRACTIONS)):
        raise SourceError(
            f"{what}: the labels are {count:,} different numbers in {total:,} rows, such as {min(rows)!r}, so values to"
            " predict and not classes; regression is not supported: group them, e.g. into the classes '20-29', '30-39'"
            f" in a column of a manifest ({where}); if they are ids of classes, write them as text, such as 'id-17'"
        )
    if nearly_unique:
        raise SourceError(
            f"{what}: there are {count:,} different labels in {total:,} rows, such as {min(rows)!r}, so most have one"
            f" image; expected classes with several: is {where} the right column?"
        )


def combined(labels: Collection[str]) -> tuple[str, list[str]] | None:
    """Return a label that stands for several classes, and these; None if each label seems to be one class.

    A list in brackets, numbers with spaces, and anything with ``|``, are several. Commas, semicolons, ``+``, ``&`` and
    spaces occur in names too: there, the parts have to be labels on their own, or a few parts have to make up many.
    """
    lists = [label for label in sorted(labels) if _LIST.fullmatch(label)]
    for label in lists:
        if len(lists) == len(labels) or _WRITTEN_LIST.fullmatch(label):  # not a class "[unknown]" beside others
            return label, [part.strip(" '\"") for part in label[1:-1].split(",")]
    for separator in _SEPARATORS:
        parts = {label: [part.strip() for part in label.split(separator) if part.strip()] for label in sorted(labels)}
        several = {label: names for label, names in parts.items() if len(names) > 1}
        if not several or (separator == "+" and _are_numbers(several)):  # grades, such as 3+4 and 4+3
            continue
        numbers = separator == " " and _are_numbers(parts)
        if separator == "|" or numbers or _are_sets(parts, several, separator == " "):
            return next(iter(several.items()))
    return None


def _are_numbers(parts: Mapping[str, list[str]]) -> bool:
    return all(name.isdecimal() for names in parts.values() for name in names)


def _are_sets(parts: Mapping[str, list[str]], several: Mapping[str, list[str]], words: bool) -> bool:
    """Return whether labels with several parts are sets of classes, and not names of that many words."""
    single = {names[0] for names in parts.values() if len(names) == 1}
    of_labels = sum(single.issuperset(names) and len(set(names)) == len(names) for names in several.values())
    if len(several) >= (3 if words else 1) and 2 * of_labels > len(several):
        return True
    if not words and len({frozenset(names) for names in several.values()}) < len(several):
        return True  # "a,b" and "b,a"
    vocabulary = {name for names in parts.values() for name in names}
    sizes = {len(names) for names in parts.values()}
    few, many = (4, 20) if words else (2, 8)
    return len(parts) >= many and few * len(vocabulary) <= len(parts) and len(sizes) > 2 and max(sizes) >= few


def check_class_names(names: Collection[str]) -> None:
    """Raise ``SourceError`` if two classes have names that look the same, or that are the same number.

    These differ only in spaces around or between words, in characters without width, in dashes or quotation marks, in
    letters of other alphabets that look the same, or in Unicode normalisation; or one is ``1`` and the other ``1.0``.
    A difference in case is a warning, since ``a`` and ``A`` may be two classes.
    """
    for first, second, *_ in _groups(names, _visible):
        raise SourceError(
            f"the classes {first!a} and {second!a} look the same: they differ only in spaces, invisible"
            " characters, dashes, quotation marks, letters of another alphabet or Unicode normalisation (macOS writes"
            " 'é' as two characters); rename one"
        )
    for first, second, *_ in _groups(names, _value):
        raise SourceError(
            f"the classes {first!r} and {second!r} are the same number; write it in one way in all rows and splits"
        )


def label_warnings(names: Collection[str]) -> Iterator[str]:
    """Yield warnings of classes whose names are unusual: missing values, spaces at an end, numbers that are no ids."""
    if missing := [name for name in sorted(names) if name.strip().lower() in ("nan", "none", "null", "n/a", "<na>")]:
        yield f"warning: is the class {missing[0]!r} a missing value? Then leave its images out"
    if spaced := [name for name in sorted(names) if name != name.strip()]:
        yield f"warning: the class {spaced[0]!r} has a space at an end"
    if all(map(_UNIT.fullmatch, names)):
        yield (
            f"warning: the {len(names):,} classes are called like patients or pictures, e.g. {min(names)!r}; if the"
            " class is written elsewhere, list the images in a CSV file with columns path and label"
        )
    if len(names) > _MANY_NUMBERS and _are_no_ids(names):
        values = sorted(map(int, names))
        yield (
            f"warning: the {len(names):,} classes are numbers from {values[0]} to {values[-1]}; if these are values to"
            " predict, group them into classes"
        )


def _are_no_ids(names: Collection[str]) -> bool:
    """Return whether all names are whole numbers, but do not count from 0 or 1 without gaps, as ids of classes do."""
    if not all(map(_INTEGER.fullmatch, names)) or any(map(_PADDED.fullmatch, names)):
        return False
    values = set(map(int, names))
    return min(values) not in (0, 1) or max(values) - min(values) >= len(values)


def _groups(names: Collection[str], key: Callable[[str], str | None]) -> list[list[str]]:
    groups = defaultdict(list)
    for name in sorted(names):
        if (found := key(name)) is not None:
            groups[found].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _visible(name: str) -> str:
    """Return a name without what cannot be seen; signs of one look, such as dashes and Cyrillic letters, are one."""
    composed = unicodedata.normalize("NFC", name).translate(_SIGNS)
    composed = composed.translate(_LETTERS) if len(composed) > 1 else composed  # letters may be the classes
    signs = ("-" if unicodedata.category(sign) == "Pd" else sign for sign in composed if not _HIDDEN.match(sign))
    return " ".join("".join(sign for sign in signs if unicodedata.category(sign) != "Cf").split())


def _value(name: str) -> str | None:
    """Return the value of a whole number that is written as ``1`` or ``1.0``; None for ``007``, which is text."""
    whole = re.fullmatch(r"(-?(0|[1-9]\d*))(\.0+)?", name, re.ASCII)
    return whole and whole[1]
