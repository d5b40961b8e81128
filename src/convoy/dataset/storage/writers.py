"""Writers of an object store, and whether they live: a store has no locks.

A writer holds a lock on its own machine. There it shows exactly whether the writer lives; elsewhere a writer counts as
dead if its newest object is old.
"""

import fcntl
import functools
import hashlib
import os
import re
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from convoy.dataset.storage import durable
from convoy.dataset.storage.object_path import Stat

CLAIM_SECONDS = 600.0
"""Age of a claim to publish from which on its writer, on another machine, counts as dead: publishing takes seconds."""


def new_writer() -> str:
    """Return the id of a new writer: 8 hex digits that name its machine, a hyphen, 12 random ones."""
    return f"{_machine()}-{uuid.uuid4().hex[:12]}"


def _locks() -> Path:
    """Return the folder of this machine, and of this user, in which writers hold their locks."""
    folder = Path(tempfile.gettempdir()) / f"convoy-writers-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@functools.cache
def _machine() -> str:
    """Return an id of what can see the locks of this process: the running kernel, and the folder of the locks."""
    kernel, folder = durable.hidden_name("").partition("-")[0], _locks().stat()
    return hashlib.blake2b(f"{kernel} {folder.st_dev} {folder.st_ino}".encode(), digest_size=4).hexdigest()


@contextmanager
def held(writer: str) -> Iterator[None]:
    """Hold a writer's lock, which the kernel releases however the process ends."""
    folder = _locks() / writer
    with ExitStack() as stack:
        with durable.locked(folder.parent):
            stack.enter_context(durable.exclusive_dir(folder))
        stack.callback(forget, writer)
        yield


def forget(writer: str) -> None:
    """Remove the lock of a writer that has ended."""
    with suppress(OSError):
        (_locks() / writer).rmdir()


def is_dead(writer: str, newest: Stat, seconds: float) -> bool:
    """Return whether a writer is dead: for certain on this machine, elsewhere by the age of its newest object."""
    folder = _locks() / writer
    if re.fullmatch(rf"{_machine()}-[0-9a-f]{{12}}", writer) and folder.is_dir():
        with durable.locked(folder.parent) as certain:
            try:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:  # it has ended just now
                return False
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            except OSError:
                certain = False
            finally:
                os.close(descriptor)
            if certain:
                return True
    return time.time() - newest.st_mtime_ns / 1e9 > seconds
