"""Locations of files, and file systems that lack an operation: which one lacks what, and how files get final names.

Network and object-store mounts may be unable to rename folders, or files at all; some have no hard links or locks. A
folder then becomes visible file by file, and the file that makes it complete comes last. Readers that look for that
file see nothing before; others may see a part of the folder, which does not happen where it is renamed as a whole.
"""

import errno
import fcntl
import functools
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from convoy.config.locations import is_object_url
from convoy.dataset.storage import durable
from convoy.dataset.storage.object_path import ObjectFile, ObjectPath

Location = Path | ObjectPath
"""A file or folder: in a file system, or in an object store."""

_PROBE = ".convoy-probe-"
# The place or the disk is at fault, and not the operation: moving the files one by one would fail, too.
_OTHER_FAULTS = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG),
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG),
)


def location(given: str) -> Location:
    """Return the absolute path, or the URL in an object store, that a field names."""
    return ObjectPath(given.rstrip("/")) if is_object_url(given) else Path(given).expanduser().absolute()


@contextmanager
def opened(path: Location) -> Iterator[BinaryIO | ObjectFile]:
    """Open a file for reading; of an object, each ``read`` is one request."""
    with path.open("rb") if isinstance(path, Path) else path.open() as file:
        yield file


def remove_folder(folder: Location) -> None:
    """Remove a folder with all files in it, as far as that is possible."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        with suppress(OSError):
            folder.remove_tree()


def missing_operations(folder: Path) -> tuple[str, ...]:
    """Try each operation in a folder, and return the names of those that fail, in words.

    Args:
        folder: Where to try; if it does not exist, its nearest existing parent is used. Nothing is left there.

    Raises:
        OSError: The folder cannot be written to.
    """
    with _probe_in(folder) as probe:
        return tuple(name for name, operation in _OPERATIONS.items() if not _works(operation, probe))


def renames_folders(folder: Path) -> bool:
    """Return whether folders can be renamed in a folder; ``missing_operations`` tries the other operations too."""
    with _probe_in(folder) as probe:
        return _works(_rename_folder, probe)


@functools.lru_cache(maxsize=64)
def writes_anywhere(folder: Path) -> bool:
    """Return whether files in a folder can be written before their end; on Volumes of Unity Catalog they cannot."""
    with _probe_in(folder) as probe:
        return _works(_write_before_end, probe)


def move_file(source: Path, target: Path) -> None:
    """Rename a file, replacing the target; copy it where the file system does not rename.

    Raises:
        OSError: The disk is full, or the target cannot be written to; an incomplete copy is removed.
    """
    try:
        os.replace(source, target)
        return
    except OSError as error:
        if error.errno in _OTHER_FAULTS:
            raise
    try:
        shutil.copyfile(source, target)
        durable.sync(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    source.unlink()


def move_folder(source: Path, target: Path, last: str, unfinished: str | None = None) -> bool:
    """Rename a folder; where the file system does not do that, move its files one by one.

    Args:
        source: The folder.
        target: Its new name, which does not exist, or is what a killed writer left of the same folder.
        last: Name of the file in it that is moved last, and makes the target complete.
        unfinished: Name of an empty file that the target has until it is complete, to recognise what a killed writer
            left; None for none.

    Returns:
        Whether the folder was renamed, in one step.

    Raises:
        OSError: The disk is full, the target exists, or it cannot be written to.
    """
    resumed = unfinished is not None and (target / unfinished).exists()
    if not resumed:
        try:
            os.rename(source, target)
            return True
        except OSError as error:
            if error.errno in _OTHER_FAULTS or target.exists():
                raise
        target.mkdir()
    if unfinished is not None:
        (target / unfinished).touch()
    for parent, _, names in os.walk(source):
        inner = target / os.path.relpath(parent, source)
        inner.mkdir(exist_ok=True)
        for name in names:
            if (parent, name) != (str(source), last):
                move_file(Path(parent, name), inner / name)
    move_file(source / last, target / last)
    if unfinished is not None:
        (target / unfinished).unlink(missing_ok=True)
    shutil.rmtree(source, ignore_errors=True)
    return False


@contextmanager
def _probe_in(folder: Path) -> Iterator[Path]:
    place = next(path for path in (folder, *folder.parents) if path.is_dir())
    probe = place / f"{_PROBE}{uuid.uuid4().hex[:12]}"
    probe.mkdir()
    try:
        yield probe
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def _works(operation: Callable[[Path], None], probe: Path) -> bool:
    place = probe / uuid.uuid4().hex[:12]
    try:
        place.mkdir()
        operation(place)
        return True
    except OSError:
        return False


def _rename_file(place: Path) -> None:
    (place / "a").touch()
    os.rename(place / "a", place / "b")
    (place / "a").touch()
    os.replace(place / "a", place / "b")


def _rename_folder(place: Path) -> None:
    (place / "a").mkdir()
    (place / "a" / "file").touch()
    os.rename(place / "a", place / "b")


def _rename_open_folder(place: Path) -> None:
    (place / "a").mkdir()
    descriptor = os.open(place / "a", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with (place / "a" / "file").open("w"):
            os.rename(place / "a", place / "b")
    finally:
        os.close(descriptor)


def _write_before_end(place: Path) -> None:
    with (place / "a").open("wb", buffering=0) as file:
        file.write(b"ab")
        file.seek(0)
        file.write(b"c")


def _link(place: Path) -> None:
    (place / "a").touch()
    os.link(place / "a", place / "b")


def _lock(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


RENAMES = ("renames of files", "renames of folders")
_OPERATIONS: dict[str, Callable[[Path], None]] = {
    RENAMES[0]: _rename_file,
    RENAMES[1]: _rename_folder,
    "renames of open folders": _rename_open_folder,
    "hard links": _link,
    "locks": _lock,
    "writes before the end of a file": _write_before_end,
}
