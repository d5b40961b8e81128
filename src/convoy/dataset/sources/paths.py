"""Paths as Spark, manifests and tables spell them, and reading what they name."""

import os
import re
from urllib.parse import unquote

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def is_url(path: str) -> bool:
    """True for ``scheme:/...`` and ``scheme://...``."""
    return _URL.match(path) is not None


def local_path(path: str) -> str:
    """Strip the scheme ``file:``, and return other paths and URLs as they are.

    ``file:///a%20b`` is a URI, and percent-encoded (``image.origin`` and ``input_file_name()`` of Spark,
    ``pathlib.Path.as_uri``); ``file:/a%20b`` is how Hadoop prints a path, literally (``path`` of ``binaryFile``).
    """
    if path.startswith("file://"):
        return unquote(path.removeprefix("file://").removeprefix("localhost"))
    return path.removeprefix("file:") if path.startswith("file:/") else path


def absolute(path: str) -> str:
    """Return a local path absolute and without scheme; URLs as they are."""
    local = local_path(path)
    return local if is_url(local) else os.path.abspath(os.path.expanduser(local))


def read_file(path: str) -> bytes:
    """Read a local file, or what a URL names with the file system that fsspec has for its scheme.

    Raises:
        OSError: It cannot be read, for whatever reason.
    """
    local = local_path(path)
    try:
        if not is_url(local):
            with open(local, "rb") as file:
                return file.read()
        import fsspec

        with fsspec.open(local, "rb") as file:
            return file.read()
    except OSError:
        raise
    except Exception as error:  # a name with a NUL; a scheme without its package; each store's own exceptions
        raise OSError(f"{type(error).__name__}: {error}") from None
