"""Atomic replacement of a folder: readers see the old one or the new one, whenever a writer is killed.

The new folder is written beside the target, under a hidden name. To add to an existing result, the files of the target
are hard-linked into it, which copies nothing. Then the two folders exchange their names, which Linux does atomically; a
reader that has listed the old one finds its files under the same names in the new one. On a file system without this
operation there are two renames, and no target for the moment between them; if a writer is killed there, the next one
completes the second rename. On a file system that does not rename folders, the files are moved one by one, and readers
may see some of the new ones beside the old ones; a result that is not complete has no ``_SUCCESS``.
"""

import ctypes
import errno
import glob
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from convoy.dataset.storage import durable
from convoy.dataset.storage.filesystem import move_file, renames_folders

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # constants of renameat2(2)
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
_NEW, _OLD = "new", "old"
_COMPLETE = "_SUCCESS"
_GRACE_SECONDS = 0.2  # for readers that have opened the old folder, but have not listed it yet


@contextmanager
def draft(target: Path) -> Iterator[Path]:
    """Yield a path to write to before publishing, and remove what remains of it at the end.

    Leftovers of killed writers of the same target are finished or removed first.

    Args:
        target: The folder to be replaced.

    Yields:
        A path beside the target that does not exist yet.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.with_name(durable.hidden_name(_prefix(target)))
    with ExitStack() as stack:
        with durable.locked(target.parent):
            _finish(target)
            left = [path for path in _drafts(target) if durable.is_stale(path)]
            stack.enter_context(durable.exclusive_dir(folder))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        yield folder / _NEW


def recover(target: Path) -> None:
    """Complete the second rename of a writer that was killed between two renames, if there was one."""
    if not target.exists() and target.parent.is_dir():
        with durable.locked(target.parent):
            _finish(target)


def publish(new: Path, target: Path, *, keep: bool, expected: frozenset[str] | None = None) -> bool:
    """Replace the target with a folder, atomically.

    Args:
        new: Path from ``draft``, complete.
        target: Folder to replace; it may not exist.
        keep: Keep the target's files beside those of ``new``; of two with the same name, that of ``new``.
        expected: The names of the target's files, to detect changes by another job.

    Returns:
        False, and nothing is changed, if another job has changed the target.
    """
    durable.sync_tree(new)
    with durable.locked(target.parent):
        if expected is not None and names(target) != expected:
            return False
        if not renames_folders(new.parent):
            _move_files(new, target, keep)
        else:
            if keep and target.exists():
                _link_files(target, new)
                durable.sync(new)
            _replace(new, target)
    durable.sync(target.parent)
    time.sleep(_GRACE_SECONDS)
    return True


def names(target: Path) -> frozenset[str]:
    """Return the names of a folder's files; empty if the folder does not exist."""
    return frozenset(os.listdir(target)) if target.is_dir() else frozenset()


def _replace(new: Path, target: Path) -> None:
    if not target.exists():
        os.rename(new, target)
    elif not _exchange(new, target):
        old = new.with_name(_OLD)
        os.rename(target, old)
        try:
            os.rename(new, target)
        except OSError:
            os.rename(old, target)
            raise


def _move_files(new: Path, target: Path, keep: bool) -> None:
    """Add the files one by one, then remove the old ones; without ``_SUCCESS`` the result is not complete."""
    target.mkdir(exist_ok=True)
    added, old = names(new), names(target)
    (target / _COMPLETE).unlink(missing_ok=True)
    for name in sorted(added - {_COMPLETE}):
        move_file(new / name, target / name)
    for name in () if keep else sorted(old - added - {_COMPLETE}):
        (target / name).unlink()
    (target / _COMPLETE).touch()


def _exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two folders; return False if the file system cannot do that atomically."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    if rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(first), None, str(second))


def _link_files(source: Path, into: Path) -> None:
    there = names(into)
    for name in sorted(names(source) - there):
        try:
            os.link(source / name, into / name)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copy2(source / name, into / name)
            durable.sync(into / name)


def _finish(target: Path) -> None:
    """Complete the second of two renames. The caller holds the parent's lock, so the other writer is dead."""
    if target.exists():
        return
    for folder in _drafts(target):
        # Both exist only between the renames.
        if (folder / _OLD).is_dir() and (folder / _NEW).is_dir():
            os.rename(folder / _NEW, target)
            return


def _prefix(target: Path) -> str:
    return f".{target.name}-draft-"


def _drafts(target: Path) -> list[Path]:
    return list(target.parent.glob(f"{glob.escape(_prefix(target))}*"))
