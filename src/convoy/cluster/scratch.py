"""Temporary folders that last as long as the process that made them."""

import atexit
import os
import shutil
import tempfile


def scratch_folder(prefix: str) -> str:
    """Create a temporary folder that is removed when this process exits, and return its path.

    A ``TemporaryDirectory`` that only ``atexit`` refers to does not last: a child that ``multiprocessing`` forks clears
    these references (Python 3.13 and later), and so removes the folder of its parent.
    """
    folder = tempfile.mkdtemp(prefix=prefix)
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # not a fork of the owner
        shutil.rmtree(folder, ignore_errors=True)
