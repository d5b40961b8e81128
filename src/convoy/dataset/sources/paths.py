"""Reading of the files that folders, manifests and tables name."""

import os
import re
import stat

from convoy.config.locations import is_object_url, is_url, local_path, unreadable
from convoy.dataset.storage.object_path import ObjectPath, is_missing_bucket, store_problem
from convoy.errors import SourceError

UNREADABLE = "an image cannot be read"
"""Beginning of the message about a store that gives no access, also in the error of a Spark job."""
_S3 = re.compile(r"\s*s3[an]?://", re.IGNORECASE)

MAX_FILE_BYTES = 1 << 30
"""Largest file that is read. The largest image that is decoded takes 600 MB uncompressed, at 16 bits, 3 channels."""
_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".tif", ".tiff", ".bmp", ".webp")


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
        SourceError: The object store gives no access; that is not the fault of this image, which is not left out then.
    """
    local = local_path(path)
    if is_object_url(local := _S3.sub("s3://", local)):
        try:
            return ObjectPath(local).read_bytes()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not is_missing_bucket(error):
                raise
            raise SourceError(f"{UNREADABLE}: {store_problem(error)}") from None
    try:
        if not is_url(local):
            return read_local_file(local)
        if reason := unreadable(path):
            raise OSError(reason)
        import fsspec

        with fsspec.open(local, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        if hint := _near(local):
            raise FileNotFoundError(f"{error.strerror or error}; {hint}") from None
        raise
    except OSError:
        raise
    except Exception as error:  # a name with a NUL; a scheme without its package; each store's own exceptions
        raise OSError(f"{type(error).__name__}: {error}") from None


def _near(path: str) -> str:
    """Return what may be wrong with a path that is not found."""
    if found := next((suffix for suffix in _SUFFIXES if os.path.exists(path + suffix)), None):
        return f"{os.path.basename(path)}{found} exists: write the names of files with their suffix"
    if "\\" in path:
        return "a path of Windows? Write / instead of \\, and paths relative to the file that lists them"
    if path.startswith("~") or "/~/" in path:
        return "rows do not expand ~: write the whole path"
    return ""
