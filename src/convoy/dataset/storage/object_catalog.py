"""Versions of datasets in an object store: written in place, published by one exclusive creation, manifest last.

<root>/<name>/<version>/train/part-00000-<writer>.parquet   uploaded by the workers, under names of their own
              .staging-<writer>                             exists while the writer lives
              .publishing-<version>                         created by one writer, which then writes the rest
<root>/<name>/<version>/manifest.json                       makes the version visible
<root>/<name>/LATEST

A store has no renames, so data is not staged elsewhere. Two writers of one version never write the same data file. The
files with fixed names (Petastorm's metadata, pictures, quarantine) are written by the one whose ``.publishing-`` object
was created first.
"""

import errno
import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from convoy.console import say
from convoy.dataset.storage import durable
from convoy.dataset.storage.manifest import NAME as MANIFEST
from convoy.dataset.storage.object_path import ObjectPath, Stat, remove_all
from convoy.dataset.storage.verify import is_whole
from convoy.dataset.storage.writers import CLAIM_SECONDS, forget, held, is_dead, new_writer
from convoy.errors import DatasetError

LATEST = "LATEST"
_STAGING, _PUBLISHING = ".staging-", ".publishing-"
_WRITER = re.compile(r"-([0-9a-f]{8}-[0-9a-f]{12})\.parquet")
_POLL_SECONDS = 0.5


@dataclass(frozen=True, order=True)
class StagedVersion(ObjectPath):
    """The folder of a version that is being written.

    Attributes:
        writer: Id of the writer.
    """

    writer: str = ""

    @property
    def marker(self) -> ObjectPath:
        """Return the object that exists while the writer lives."""
        return self.parent / f"{_STAGING}{self.writer}"


def data_file(name: str, writer: str) -> str:
    """Return the name of a writer's data file: ``part-00000-<writer>.parquet`` for ``part-00000.parquet``."""
    return f"{name.removesuffix('.parquet')}-{writer}.parquet" if writer else name


def upload_data(file: Path, target: ObjectPath, marker: ObjectPath) -> None:
    """Upload a data file of a version, unless its writer is dead. Runs on a worker.

    Raises:
        FileNotFoundError: The writer is dead, and others may have removed its files already; nothing is left.
    """
    gone = FileNotFoundError(errno.ENOENT, "the ingest that this task belongs to has ended", marker.url)
    if not marker.is_file():
        raise gone
    target.upload(file)
    if not marker.is_file():  # the file may have been uploaded after the removal
        target.unlink(missing_ok=True)
        raise gone


@contextmanager
def staging(home: ObjectPath, version: str) -> Iterator[StagedVersion]:
    """Yield the folder of a version to write data files into; those that were not published are removed at the end.

    Leftovers of dead writers are removed first.
    """
    writer = new_writer()
    staged = StagedVersion((home / version).url, writer)
    with ExitStack() as stack:
        stack.enter_context(held(writer))
        collect(home)
        staged.marker.write_bytes(version.encode())
        try:
            yield staged
        finally:
            with suppress(OSError):  # without access nothing can be removed now; the next writer does it
                staged.marker.unlink()
                _clean(staged, staged.files(), _live(home))


@contextmanager
def publishing(staged: StagedVersion) -> Iterator[bool]:
    """Become the only writer that publishes this version; yield False if another one has published it intact.

    Raises:
        DatasetError: Another writer is publishing it, and does not end.
    """
    claim = staged.parent / f"{_PUBLISHING}{staged.name}"
    until = time.monotonic() + CLAIM_SECONDS
    while not (published := is_whole(staged)) and not claim.create(staged.writer.encode()):
        with suppress(FileNotFoundError):
            if is_dead(claim.read_text(), claim.stat(), CLAIM_SECONDS):
                claim.unlink(missing_ok=True)
        if time.monotonic() > until:
            raise DatasetError(f"another ingest is publishing {staged} and does not end; try again later")
        time.sleep(_POLL_SECONDS)
    if published:
        yield False
        return
    try:
        published = is_whole(staged)
        if not published:
            _withdraw(staged)
        yield not published
    finally:
        with suppress(OSError):
            claim.unlink(missing_ok=True)


def publish(staged: StagedVersion, manifest: str) -> None:
    """Make a version visible by its manifest, and point ``latest`` at it."""
    if not (staged / MANIFEST).create(manifest.encode()):
        say(f"note: {staged} was published by another ingest meanwhile")
    set_latest(staged)


def set_latest(version: ObjectPath) -> None:
    """Point ``latest`` at a version."""
    version.with_name(LATEST).write_text(f"{version.name}\n")


def collect(home: ObjectPath) -> None:
    """Remove what dead writers have left in a dataset.

    The files are listed before the writers: a file whose writer has ended by then is in a manifest, or left over.
    """
    found: dict[ObjectPath, list[tuple[ObjectPath, Stat]]] = {}
    newest: dict[str, Stat] = {}
    for path, status in home.files():
        inside = path.relative_to(home).split("/")
        if len(inside) > 1 and not inside[0].startswith("."):
            found.setdefault(home / inside[0], []).append((path, status))
        if (writer := _writer_of(path)) is not None:
            newest[writer] = max(newest.get(writer, status), status, key=lambda each: each.st_mtime_ns)
    for marker in list(home.glob(f"{_STAGING}*")):
        writer = marker.name.removeprefix(_STAGING)
        with suppress(FileNotFoundError):
            if is_dead(writer, newest.get(writer) or marker.stat(), durable.ABANDONED_SECONDS):
                marker.unlink(missing_ok=True)
                forget(writer)
    holders = {}
    for claim in home.glob(f"{_PUBLISHING}*"):
        with suppress(FileNotFoundError):
            holders[claim] = claim.read_text()
    live = _live(home)
    for claim, holder in holders.items():
        if holder not in live:
            claim.unlink(missing_ok=True)
    for folder, files in found.items():
        _clean(folder, files, live)


def _withdraw(version: ObjectPath) -> None:
    """Remove the manifest of a damaged version, which is then invisible, and what describes its files."""
    (version / MANIFEST).unlink(missing_ok=True)
    remove_all([path for path, _ in version.files() if not _WRITER.search(path.name)])


def _clean(folder: ObjectPath, files: list[tuple[ObjectPath, Stat]], live: set[str]) -> None:
    """Remove the files of a version that are neither in its manifest nor of a writer that lives."""
    try:
        splits = json.loads((folder / MANIFEST).read_text())["splits"]
        listed = {f"{split}/{file['name']}" for split, entry in splits.items() for file in entry["files"]}
        published = True
    except FileNotFoundError:
        listed, published = set(), False
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # it cannot be judged; ``convoy datasets verify`` reports it
    left = []
    for path, _ in files:
        writer = _WRITER.search(path.name)
        if path.relative_to(folder) in listed or (writer and writer[1] in live):
            continue
        if writer or not (published or live):
            left.append(path)
    remove_all(left)


def _live(home: ObjectPath) -> set[str]:
    return {path.name.removeprefix(_STAGING) for path in home.glob(f"{_STAGING}*")}


def _writer_of(path: ObjectPath) -> str | None:
    found = _WRITER.search(path.name)
    return found[1] if found else None
