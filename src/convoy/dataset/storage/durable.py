"""Isolation of concurrent writers and durability of their files: locks, fsync, full disks, leftovers.

A writer holds an ``flock`` on its own hidden folder as long as it lives; the kernel releases it however the process
ends. Among processes of one running kernel the lock shows exactly whether a writer is alive. A writer on another
machine with a shared file system, or on this machine before a restart, is recognised by the boot id in the folder's
name. There, and if the file system has no locks, a folder in which nothing has changed for ``ABANDONED_SECONDS``
counts as abandoned.
"""

import errno
import fcntl
import functools
import hashlib
import os
import platform
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from convoy.dataset.storage.object_path import ObjectPath, store_problem
from convoy.errors import ConvoyError, DatasetError

ABANDONED_SECONDS = 24 * 3600.0
_ASIDE = ".trash-"
_FULL = {code: os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)}
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


def hidden_name(prefix: str) -> str:
    """Return a new name that includes the identity of the running kernel, which holds its writer's locks."""
    return f"{prefix}{_kernel()}-{uuid.uuid4().hex[:12]}"


@functools.cache
def _kernel() -> str:
    try:
        identity = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        identity = platform.node()
    return hashlib.blake2b(identity.strip().encode(), digest_size=4).hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock for a block that takes milliseconds; yield False if the file system has no locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


@contextmanager
def exclusive_dir(folder: Path) -> Iterator[None]:
    """Create a folder, and hold its lock until the block or the process ends; hold its parent's lock while entering.

    On a file system without locks the folder is not kept open, since there it may not be renamed while it is.
    """
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        yield
        return
    try:
        yield
    finally:
        os.close(descriptor)


def collect_stale(parent: Path, folders: str, files: str, certain: bool) -> list[Path]:
    """Move leftovers of dead writers aside; the caller holds the parent's lock.

    Folders are renamed first, so that a task that outlived its driver cannot continue to write into one that is being
    removed.

    Args:
        parent: Folder to search.
        folders: Prefix of the writers' folders, whose locks they hold while they live.
        files: Prefix of small files that exist only while their writer holds the parent's lock.
        certain: True if the parent's lock is really held.

    Returns:
        Folders to pass to ``remove`` once the lock is released.
    """
    for path in parent.glob(f"{files}*"):
        if (certain and _of_this_kernel(path)) or _unchanged(path):
            with suppress(OSError):
                path.unlink()
    left = []
    for path in parent.glob(f"{folders}*"):
        if is_stale(path):
            try:
                path.rename(parent / hidden_name(_ASIDE))
            except OSError:
                left.append(path)
    return [*left, *parent.glob(f"{_ASIDE}*")]


def remove(folder: Path) -> None:
    """Remove the folder of a finished or dead writer, if it exists; the next run removes what cannot be removed now."""
    aside = folder
    if not folder.name.startswith(_ASIDE):
        aside = folder.with_name(hidden_name(_ASIDE))
        try:
            folder.rename(aside)
        except OSError:  # it is gone, or the file system does not rename folders
            aside = folder
    shutil.rmtree(aside, ignore_errors=True)


def _of_this_kernel(path: Path) -> bool:
    return f"-{_kernel()}-" in path.name


def is_stale(folder: Path) -> bool:
    """Return whether the writer of a folder is dead; the caller holds the lock of the folder's parent."""
    if _of_this_kernel(folder):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file system without locks: the age decides
        finally:
            os.close(descriptor)
    return _unchanged(folder)


def _unchanged(path: Path) -> bool:
    try:
        newest = max(entry.lstat().st_mtime for entry in (path, *path.rglob("*")))
    except OSError:
        return False  # it is being changed right now
    return time.time() - newest > ABANDONED_SECONDS


def sync_tree(folder: Path) -> None:
    """Sync a folder and all files and folders below it to the disk.

    A rename may reach the disk before the content of the renamed folder; after this call it cannot.
    """
    for at, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(at, name))
        sync(Path(at))


def sync(path: Path) -> None:
    """Sync a file, or a folder's list of names, to the disk if the file system supports it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync_open(descriptor)
    finally:
        os.close(descriptor)


def sync_open(descriptor: int) -> None:
    """Sync an open file to the disk if the file system supports it."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


@contextmanager
def disk_errors(root: str, folder: Path | ObjectPath) -> Iterator[None]:
    """Turn errors of a disk or of an object store while a dataset is written, here or on a Spark worker, into one line.

    Args:
        root: ``dataset.root`` as given.
        folder: Folder that is written to.

    Raises:
        DatasetError: The disk is full, or it or the store cannot be written to; the message names it and the path.
    """
    try:
        yield
    except ConvoyError:
        raise
    except Exception as error:
        if isinstance(folder, ObjectPath) and (problem := store_problem(error)):
            raise DatasetError(
                f"dataset.root {root!r} cannot be written to: {problem}; nothing was published"
            ) from error
        full = next((text for text in _FULL.values() if text in str(error)), None)
        if full and "java.io.IOException" in str(error):
            raise DatasetError(
                f"Spark's scratch disk is full ({full}); nothing was published. Free some space, or set spark.local.dir"
                " in spark.conf to a larger disk"
            ) from error
        if full and isinstance(folder, ObjectPath):
            raise DatasetError(
                f"a disk for temporary files is full ({full}), where data files are written before they are uploaded to"
                f" {root!r}; nothing was published. Free some space there, or set TMPDIR on the workers"
            ) from error
        if full and isinstance(folder, Path):
            raise DatasetError(
                f"{_disk(folder)} is full: the version does not fit into {folder} under dataset.root {root!r} ({full});"
                " nothing was published. Free some space or choose another dataset.root"
            ) from error
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DatasetError(
                f"dataset.root {root!r} cannot be written to ({error.strerror}: {error.filename}); choose another or"
                " fix it"
            ) from error
        raise


def _disk(folder: Path) -> str:
    existing = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    mount = next(path for path in (existing, *existing.parents) if path.is_mount())
    usage = shutil.disk_usage(existing)
    return f"the disk at {mount} ({usage.free / 2**20:,.1f} of {usage.total / 2**20:,.1f} MiB free)"
