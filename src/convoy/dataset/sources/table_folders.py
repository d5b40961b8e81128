"""Tables in folders: Delta, Iceberg, Hudi, and Parquet files with partition folders, recognised by names.

The folder of a Delta, Iceberg or Hudi table has files of earlier versions, whose rows were deleted or changed since;
only the table's log says which files count. So the files of such a table are never read as plain Parquet.
"""

import functools
import glob
import itertools
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from convoy.dataset.sources.split_names import splits_among
from convoy.errors import SourceError

_PARTITION = re.compile(r"[^=/]+=[^/]+")
_BRACES = re.compile(r"\{([^{}]*)\}")
_TITLES = {"delta": "Delta", "iceberg": "Iceberg", "hudi": "Hudi"}
_MOST_FOOTERS = 1000
_MOST_ENTRIES = 100_000  # of a folder that is searched for tables at any depth; others are found when they are read


@dataclass(frozen=True)
class TableFolder:
    """A table in files.

    Attributes:
        format: Spark's name of its format: ``parquet``, ``delta``, ``iceberg`` or ``hudi``.
        paths: Files or folders to read, absolute.
        base: The folder that the partition folders are in; None if there are none.
        values: Values in names of partition folders that Spark reads wrongly: (column, value as Spark reads it, value).
    """

    format: str
    paths: tuple[str, ...]
    base: str | None = None
    values: tuple[tuple[str, str, str], ...] = ()

    @property
    def title(self) -> str:
        """Return the name of the format as people write it."""
        return _TITLES.get(self.format, "Parquet")


def find_table(given: str, field: str) -> TableFolder | None:
    """Return the table that a path or pattern names; None if it names something else, e.g. a folder of images.

    Args:
        given: A local path, or a pattern as ``glob`` and Hadoop take it, without ``~``.
        field: The field that names it, for messages.

    Raises:
        SourceError: It is a part of a table of a format with a log, it holds such a table, or it mixes files that are
            not rows of one table; the message says what to give.
    """
    what = f"{field} {given!r}"
    exists = os.path.exists(given)
    matches = [os.path.abspath(match) for match in ([given] if exists else matches_of(given))]
    folders = [match for match in matches if os.path.isdir(match)]
    if (table := _with_log(matches, folders, what)) is not None:
        return table
    others = sorted(set(matches) - set(folders))
    named = any(path.endswith(".parquet") for path in others) or any(map(_is_parquet, others[:1]))
    if folders and not others and (inner := _folders_of_splits(folders[0])) and len(folders) == 1:
        matches = folders = inner
    if not named and not any(map(_is_table, folders)):
        for folder in folders:
            _refuse_tables_below(folder, what)
        return None
    files = sorted({file for match in matches for file in _files_of(match, what)})
    found = set(files)
    others = [path for path in others if path not in found] + [path for path in folders if not _covers(path, files)]
    if others:
        raise SourceError(f"{what} names Parquet files, and {others[0]!r}, which is none; give only one of them")
    columns = {_partition_columns(file): file for file in files}
    if len(columns) > 1:
        one, other = list(columns.values())[:2]
        raise SourceError(
            f"{what} names files with different partition folders (key=value), {one!r} and {other!r}; expected the same"
            " columns for all files of a table"
        )
    paths = tuple(matches if exists else files)
    if not any(columns):
        return TableFolder("parquet", paths)
    bases = sorted({partition_base(os.path.dirname(file)) for file in files})
    if len(bases) > 1:
        raise SourceError(f"{what} names files of several tables, {bases[0]!r} and {bases[1]!r}; give one at a time")
    return TableFolder("parquet", paths, bases[0], _misread_values(files))


def have_same_columns(table: TableFolder) -> bool:
    """Return whether the Parquet files of a table, or a thousand of them, have columns of the same names."""
    files = [file for path in table.paths for file in (_files_of(path, path) if os.path.isdir(path) else [path])]
    known: set[frozenset[str]] = set()
    for file in files[:: len(files) // _MOST_FOOTERS + 1]:
        with suppress(OSError, pa.ArrowException):  # not a Parquet file: Spark reports it
            known.add(_columns_of(file, os.stat(file).st_mtime_ns))
        if len(known) > 1:
            return False
    return True


@functools.lru_cache(maxsize=10 * _MOST_FOOTERS)  # a table is read several times in an ingest
def _columns_of(file: str, changed: int) -> frozenset[str]:
    return frozenset(pq.read_schema(file).names)


def _misread_values(files: list[str]) -> tuple[tuple[str, str, str], ...]:
    """Return values that are percent-encoded UTF-8, as PyArrow writes them: Spark decodes each byte for itself."""
    parts = {part for folder in set(map(os.path.dirname, files)) for part in folder.split("/") if "%" in part}
    found = set()
    for name, equals, value in (part.partition("=") for part in parts):
        read, meant = re.sub("%([0-9A-Fa-f]{2})", lambda code: chr(int(code[1], 16)), value), unquote(value)
        if equals and read != meant and "\ufffd" not in meant:
            found.add((name, read, meant))
    return tuple(sorted(found))


def refuse_table(path: str, kind: str) -> None:
    """Raise ``SourceError`` if a folder or file of a source that is not ``table`` belongs to a table.

    Args:
        path: A local path; it may not exist.
        kind: ``source.kind``.

    Raises:
        SourceError: It is, or is inside of, a table with a log; or it holds Parquet files in partition folders.
    """
    what, path = f"source.path {path!r}", os.path.abspath(os.path.expanduser(path))
    is_folder = os.path.isdir(path)
    table = _with_log([path], [path] if is_folder else [], what)
    if table is None and is_folder and kind == "folder" and _has_table_parts(path):
        table = TableFolder("parquet", (path,), path)
    if table is not None:
        raise SourceError(f"{what} is a {table.title} table; expected source.kind table for it, not {kind}")


def part_of_table(what: str, kind: str, root: str) -> SourceError:
    """Return the error for a path or pattern that names only some files of a table with a log."""
    return SourceError(
        f"{what} names files in the {_TITLES[kind]} table {root!r}, which also hold rows that were deleted or changed"
        f" since; give the table's folder alone, {root!r}, or its name in Spark's catalog"
    )


def log_format(folder: str) -> str | None:
    """Return the format of the table with a log that a folder is the root of, or None."""
    if os.path.isdir(os.path.join(folder, "_delta_log")):
        return "delta"
    if os.path.isdir(os.path.join(folder, ".hoodie")):
        return "hudi"
    metadata = os.path.join(glob.escape(folder), "metadata", "*.metadata.json")
    return "iceberg" if next(glob.iglob(metadata), None) else None


def markers(pattern: str) -> Iterator[tuple[str, str, str]]:
    """Yield (folder, pattern of a marker in it, format) of tables that a URL or pattern may be in."""
    scheme, separator, rest = pattern.partition("://")
    parts = (rest if separator else pattern).rstrip("/").split("/")
    for end in range(len(parts), 0, -1):
        folder = f"{scheme}{separator}" * bool(separator) + "/".join(parts[:end])
        if folder:
            yield folder, f"{folder}/_delta_log", "delta"
            yield folder, f"{folder}/.hoodie", "hudi"
            yield folder, f"{folder}/metadata/*.metadata.json", "iceberg"


def partition_base(pattern: str) -> str:
    """Return the folder that the partition folders of a path, URL or pattern are in.

    It is the part before the first pattern, without partition folders (key=value) at its end.
    """
    parts = pattern.rstrip("/").split("/")
    fixed = list(itertools.takewhile(lambda part: not _is_pattern(part), parts))
    while fixed and _PARTITION.fullmatch(fixed[-1]):
        fixed.pop()
    return "/".join(fixed) or ("/" if pattern.startswith("/") else ".")


def _is_pattern(path: str) -> bool:
    return glob.has_magic(path) or _BRACES.search(path) is not None


def matches_of(pattern: str) -> Iterator[str]:
    """Yield the paths that match, without those that Spark hides because their name begins with ``_`` or ``.``.

    Args:
        pattern: A pattern of ``glob``, also with choices in braces, as Hadoop takes it.
    """
    if (braces := _BRACES.search(pattern)) is not None:
        for choice in braces[1].split(","):
            yield from matches_of(pattern[: braces.start()] + choice + pattern[braces.end() :])
        return
    literal = set(pattern.split("/"))
    for path in glob.iglob(pattern, recursive=True):
        if not any(_is_hidden(part) for part in path.split("/") if part not in literal):
            yield path


def _is_hidden(name: str) -> bool:
    """Return whether Spark takes a name for that of a side file: ``_SUCCESS``, ``.part.crc``; not ``_key=value``."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _with_log(matches: list[str], folders: list[str], what: str) -> TableFolder | None:
    """Return the table with a log that all matches are; raise ``SourceError`` if they are a part of one."""

    @functools.cache
    def root_of(folder: str) -> str | None:
        if log_format(folder) is not None:
            return folder
        above = os.path.dirname(folder)
        return None if above == folder else root_of(above)

    places = set(folders) | set(map(os.path.dirname, set(matches) - set(folders)))
    places |= set(map(os.path.realpath, places))  # a link may lead into a table
    found = {os.path.realpath(root) for root in map(root_of, places) if root is not None}
    if not found:
        return None
    root = min(found)
    kind = log_format(root) or "delta"
    if {os.path.realpath(match) for match in matches} != {root}:
        raise part_of_table(what, kind, root)
    return TableFolder(kind, (root,))


def _is_table(folder: str) -> bool:
    """Return whether a folder holds Parquet files, directly or in partition folders."""
    if _PARTITION.fullmatch(os.path.basename(folder)) and _is_table_part(folder):
        return True
    names = (name for name in _listed(folder) if not _is_hidden(name))
    return any(name.endswith(".parquet") for name in names) or _has_table_parts(folder)


def _folders_of_splits(folder: str) -> list[str]:
    """Return the folders of a folder whose names stand for splits, if they hold Parquet files, and the folder none."""
    try:
        with os.scandir(folder) as entries:
            inner = sorted(entry.name for entry in entries if not _is_hidden(entry.name) and entry.is_dir())
    except OSError:
        return []
    splits = splits_among(inner)
    if "train" not in splits.values() or len(set(splits.values())) < 2 or _is_table(folder):
        return []
    tables = [name for name in inner if _is_table(os.path.join(folder, name))]
    return [os.path.join(folder, name) for name in tables] if set(tables) == set(splits) else []


def table_of(file: str) -> str:
    """Return the folder of a table that a Parquet file is in: its own, or the one above if that is of a split."""
    folder = os.path.dirname(file)
    return above if folder in _folders_of_splits(above := os.path.dirname(folder)) else folder


def _has_table_parts(folder: str) -> bool:
    names = (name for name in _listed(folder) if _PARTITION.fullmatch(name) and not _is_hidden(name))
    parts = (os.path.join(folder, name) for name in names)
    return any(_is_table_part(part) for part in parts if os.path.isdir(part))


def _is_table_part(folder: str) -> bool:
    """Return whether the first file in a partition folder is a Parquet file, whatever its name."""
    for name in sorted(_listed(folder)):
        path = os.path.join(folder, name)
        if _is_hidden(name):
            continue
        if not os.path.isdir(path):
            return _is_parquet(path)
        if _PARTITION.fullmatch(name) and _is_table_part(path):
            return True
    return False


def _is_parquet(path: str) -> bool:
    if path.endswith(".parquet"):
        return True
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _files_of(path: str, what: str) -> Iterator[str]:
    """Yield the files of a table, those in partition folders too; refuse other folders with Parquet files."""
    if not os.path.isdir(path):
        if _is_parquet(path):
            yield path
        return
    if not _is_table(path):
        return
    folders = [path]
    while folders:
        folder = folders.pop()
        for name in sorted(_listed(folder)):
            inner = os.path.join(folder, name)
            if _is_hidden(name):
                continue
            if not os.path.isdir(inner):
                yield inner
            elif _PARTITION.fullmatch(name):
                folders.append(inner)
            else:
                _refuse_tables_below(inner, what, path)


def _covers(folder: str, files: list[str]) -> bool:
    """Return whether a folder is above some of the files, or has no files."""
    above = os.path.join(folder, "")
    return any(file.startswith(above) for file in files) or not any(names for _, _, names in os.walk(folder))


def _partition_columns(file: str) -> tuple[str, ...]:
    """Return the names of the columns in the partition folders directly above a file."""
    parts = os.path.dirname(file).split("/")
    named = list(itertools.takewhile(_PARTITION.fullmatch, reversed(parts)))
    return tuple(part.partition("=")[0] for part in reversed(named))


def _refuse_tables_below(folder: str, what: str, table: str | None = None) -> None:
    """Raise ``SourceError`` for a table at any depth below a folder.

    Args:
        folder: The folder.
        what: The input, for messages.
        table: The folder of a table that this one is in; Parquet files that are not in its partitions are refused too.
    """
    entries = 0
    for parent, folders, names in os.walk(folder):
        entries += len(folders) + len(names)
        if entries > _MOST_ENTRIES:
            return
        if {"_delta_log", ".hoodie", "metadata"} & set(folders) and (found := log_format(parent)) is not None:
            raise SourceError(f"{what} holds the {_TITLES[found]} table {parent!r}; give that folder")
        if table is not None and (file := next((name for name in names if name.endswith(".parquet")), None)):
            raise SourceError(
                f"{what} has Parquet files in {table!r}, and in {parent!r} ({file}), which is not a partition folder"
                " (key=value); give one of the two folders, or a pattern that names all files, e.g. **/*.parquet"
            )
