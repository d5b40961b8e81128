"""Files below folders or that match a pattern, without side files, and what was ignored on the way."""

import functools
import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from pyspark.sql import SparkSession

from convoy.cluster.session_facts import parallelism
from convoy.config.locations import is_object_url
from convoy.dataset.sources.side_files import is_side_file, is_side_folder, kind_of, without_side_files
from convoy.dataset.storage.object_path import ObjectPath

_MOST_KINDS = 4
_LINK = "link"
_IGNORED = pa.schema([("kind", pa.string()), ("count", pa.int64()), ("example", pa.string())])


@dataclass
class Ignored:
    """What a listing leaves out.

    Attributes:
        side: Kind of side files or folders (which end in ``/``) -> their number; what is inside folders is not counted.
        links: Number of links to folders, which are not followed.
        link: The path of one of them.
    """

    side: Counter[str] = field(default_factory=Counter)
    links: int = 0
    link: str | None = None

    def lines(self, job: str) -> list[str]:
        """Return a line about side files and a warning of links, each only if there are any; ``job`` begins a line."""
        lines = []
        if self.side:
            kinds = sorted(self.side.items(), key=lambda kind: (-kind[1], kind[0]))
            common = [f"{count:,} {kind}" for kind, count in kinds[:_MOST_KINDS]]
            more = len(self.side) - len(common)
            named = ", ".join(common) + (f" and {more} more kinds" if more else "")
            lines.append(f"{job}: ignored {self.side.total():,} side files and folders: {named}")
        if self.links:
            lines.append(
                f"warning: links to folders are not followed: {self.links:,}, e.g. {self.link!r}; to use their files,"
                " give the folder itself, or copy them"
            )
        return lines


def files_below(folder: str, ignored: Ignored | None = None) -> Iterator[str]:
    """Yield every file below the folder except side files; links to folders are not followed, so there are no loops.

    A folder that cannot be listed is yielded as a file: reading it fails, so it is reported and not left out.

    Args:
        folder: The folder.
        ignored: Counts what is left out.
    """
    if is_object_url(folder):
        yield from _objects_below(ObjectPath(folder), ignored)
        return
    unlisted: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=unlisted.append):
        kept = without_side_files(files)
        if ignored is not None:
            ignored.side.update(kind_of(name, folder=True) for name in folders if is_side_folder(name))
            ignored.side.update(kind_of(name) for name in set(files).difference(kept))
            for name in folders:
                if not is_side_folder(name) and os.path.islink(link := os.path.join(parent, name)):
                    ignored.links += 1
                    ignored.link = ignored.link or path_text(link)
        folders[:] = sorted(name for name in folders if not is_side_folder(name))
        before = os.path.join(parent, "")
        are_text = is_utf8("\0".join([parent, *kept]))
        for name in kept:
            yield before + name if are_text else path_text(before + name)
    for error in unlisted:
        yield path_text(error.filename)


def _objects_below(folder: ObjectPath, ignored: Ignored | None) -> Iterator[str]:
    """Yield every object below a prefix, except side files; those that end in a slash stand for folders."""
    seen = set()
    for path, _ in folder.files():
        *folders, file = path.relative_to(folder).split("/")
        side = next((depth for depth, name in enumerate(folders) if is_side_folder(name)), None)
        if side is None and not is_side_file(file):
            yield str(path)
        elif ignored is not None:
            key = (*folders[: side + 1], "") if side is not None else (*folders, file)
            if key not in seen:
                seen.add(key)
                ignored.side[kind_of(file) if side is None else kind_of(folders[side], folder=True)] += 1


def files_matching(pattern: str, ignored: Ignored | None = None) -> Iterator[str]:
    """Yield every file that matches a pattern, except side files that the pattern does not name itself.

    Args:
        pattern: A pattern of ``glob``; ``**`` matches folders at any depth.
        ignored: Counts what is left out; names with a dot are skipped by ``glob`` itself.
    """
    named = set(pattern.split(os.sep))
    for path in glob.iglob(pattern, recursive=True):
        if os.path.isdir(path):
            continue
        *folders, file = path.split(os.sep)
        inside = next((name for name in folders if is_side_folder(name) and name not in named), None)
        if inside is None and (file in named or not is_side_file(file)):
            yield path_text(path)
        elif ignored is not None:
            ignored.side[kind_of(file) if inside is None else kind_of(inside, folder=True)] += 1


def find_ignored(spark: SparkSession, folders: Sequence[str] = (), pattern: str | None = None) -> Ignored:
    """Walk folders, or the matches of a pattern, on the workers and count what a listing of them leaves out."""
    parts = len(folders) or 1
    tasks = min(parts, 4 * parallelism(spark))
    work = functools.partial(list_ignored, folders=folders, pattern=pattern)
    found = Ignored()
    columns = "kind string, count long, example string"
    for row in spark.range(0, parts, numPartitions=tasks).mapInArrow(work, columns).collect():
        if row.example is None:
            found.side[row.kind] += row["count"]
        else:
            found.links += row["count"]
            found.link = min(found.link or row.example, row.example)
    return found


def list_ignored(
    batches: Iterable[pa.RecordBatch], folders: Sequence[str], pattern: str | None
) -> Iterator[pa.RecordBatch]:
    """Convert rows (id) to the numbers of what is ignored below the folders with those indices. Runs on a worker."""
    ignored = Ignored()
    for batch in batches:
        for index in batch.column("id").to_pylist():
            for _ in files_below(folders[index], ignored) if pattern is None else files_matching(pattern, ignored):
                pass
    rows = [{"kind": kind, "count": count, "example": None} for kind, count in ignored.side.items()]
    if ignored.links:
        rows.append({"kind": _LINK, "count": ignored.links, "example": ignored.link})
    yield pa.RecordBatch.from_pylist(rows, _IGNORED)


def is_utf8(path: str) -> bool:
    """Return whether a name, or several, that the operating system gave are UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def path_text(path: str) -> str:
    """Return a path as text: a name that is not UTF-8 gets a replacement character.

    No file has that name, so it is reported as missing.
    """
    return os.fsencode(path).decode("utf-8", "replace")
