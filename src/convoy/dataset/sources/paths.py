"""Paths as Spark, manifests and tables write them, and functions that read the files."""

import os
import re
import stat
from urllib.parse import unquote

MAX_FILE_BYTES = 1 << 30
"""Largest file that is read. The largest image that is decoded takes 600 MB uncompressed, at 16 bits, 3 channels."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def is_url(path: str) -> bool:
    """Return whether a path is ``scheme:/...`` or ``scheme://...``."""
    return _URL.match(path) is not None


def local_path(path: str) -> str:
    """Strip the scheme ``file:``, and return other paths and URLs unchanged.

    ``file:///a%20b`` is a URI, and percent-encoded (``image.origin`` and ``input_file_name()`` of Spark,
    ``pathlib.Path.as_uri``); ``file:/a%20b`` is how Hadoop prints a path, literally (``path`` of ``binaryFile``).
    """
    if path.startswith("file://"):
        return unquote(path.removeprefix("file://").removeprefix("localhost"))
    return path.removeprefix("file:") if path.startswith("file:/") else path


def absolute(path: str) -> str:
    """Return a local path absolute and without scheme; URLs unchanged."""
    local = local_path(path)
    return local if is_url(local) else os.path.abspath(os.path.expanduser(local))


def read_local_file(path: str) -> bytes:
    """Read a regular file that fits into a worker's memory; a file with an image's name may be anything.

    Raises:
        OSError: It cannot be read, is a pipe or device (reading might never end), or is larger than any image.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file, but a pipe or device")
        if status.st_size > MAX_FILE_BYTES:
            raise OSError(f"{status.st_size:,} bytes, more than the maximum of {MAX_FILE_BYTES:,}")
        parts = []
        while part := os.read(file, status.st_size + 1):  # the first read returns everything, the second nothing
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        os.close(file)


def read_file(path: str) -> bytes:
    """Read a local file, or a URL with the file system that fsspec provides for its scheme.

    Raises:
        OSError: It cannot be read, for any reason.
    """
    local = local_path(path)
    try:
        if not is_url(local):
            return read_local_file(local)
        import fsspec

        with fsspec.open(local, "rb") as file:
            return file.read()
    except OSError:
        raise
    except Exception as error:  # a name with a NUL; a scheme without its package; each store's own exceptions
        raise OSError(f"{type(error).__name__}: {error}") from None
