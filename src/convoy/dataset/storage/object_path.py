"""Files in an object store: the part of ``pathlib.Path`` that Convoy uses, over fsspec, with retries.

An object becomes visible as a whole when it has been written, and there are neither folders nor renames. Every
operation raises ``OSError`` with one line as ``strerror``, whichever exception the store's package raises. Errors that
may pass (a busy store, a connection that is cut) are retried for ``RETRY_SECONDS``.
"""

import errno
import io
import os
import random
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

RETRY_SECONDS = 60.0
_MOST_SECONDS = 5.0  # between two attempts
_AT_ONCE = 16  # requests
_MOST_TEXT = 300  # characters of a store's message: it may be a page
_BUCKET = "there is no such bucket"
_FINAL = (errno.EINVAL, errno.ENOSYS, errno.ENAMETOOLONG, errno.EMSGSIZE, getattr(errno, "EREMCHG", errno.EINVAL))
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError")
_SETTINGS = ("ParamValidationError", "ProfileNotFound", "NoRegionError", "InvalidRegionError", "ConfigParseError")
_CHANGED = "FileExpired"  # of s3fs: the object has another ETag than it had when it was opened

T = TypeVar("T")


class Stat(NamedTuple):
    """Size and time of the last change, as in ``os.stat_result``."""

    st_size: int
    st_mtime_ns: int


@dataclass(frozen=True, order=True)
class ObjectPath:
    """A file or a prefix ("folder") in an object store.

    Attributes:
        url: ``s3://bucket/...``, without a slash at its end.
    """

    url: str

    def __truediv__(self, name: str) -> "ObjectPath":
        return ObjectPath(f"{self.url}/{name}")

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """Return the last part of the path."""
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """Return the end of the name from its last dot on."""
        return Path(self.name).suffix

    @property
    def parent(self) -> "ObjectPath":
        """Return the prefix that this is directly in."""
        return ObjectPath(self.url.rpartition("/")[0])

    def with_name(self, name: str) -> "ObjectPath":
        """Return the path beside this one with another name."""
        return self.parent / name

    def relative_to(self, other: "ObjectPath") -> str:
        """Return the part of the path below another one."""
        assert self.url.startswith(f"{other.url}/")
        return self.url[len(other.url) + 1 :]

    def stat(self) -> Stat:
        """Return size and time of the last change; raises ``FileNotFoundError`` if this is not a file."""
        found = self._call(lambda fs: fs.info(self.url))
        if found["type"] != "file":
            raise FileNotFoundError(errno.ENOENT, "there is no such object", self.url)
        return _stat(found)

    def is_file(self) -> bool:
        """Return whether there is such an object."""
        with suppress(FileNotFoundError):
            self.stat()
            return True
        return False

    def is_dir(self) -> bool:
        """Return whether there are objects below this prefix."""
        with suppress(FileNotFoundError):
            return bool(self._call(lambda fs: fs.info(self.url))["type"] == "directory")
        return False

    def exists(self) -> bool:
        """Return whether this is an object or a prefix of objects."""
        with suppress(FileNotFoundError):
            return bool(self._call(lambda fs: fs.info(self.url)))
        return False

    def iterdir(self) -> Iterator["ObjectPath"]:
        """Yield what is directly in this prefix, in the order of the names; nothing if there is nothing."""
        for path, _ in self.entries():
            yield path

    def entries(self) -> list[tuple["ObjectPath", bool]]:
        """Return (path, whether it is a prefix) of what is directly in this prefix, sorted; a missing one is empty.

        Raises:
            FileNotFoundError: There is no such bucket.
        """
        try:
            found = self._call(lambda fs: fs.ls(self.url, detail=True))
        except FileNotFoundError as error:
            if is_missing_bucket(error):
                raise
            return []
        paths = ((self._at(entry["name"]), entry["type"] == "directory") for entry in found)
        return sorted(pair for pair in paths if pair[0] != self)  # a prefix itself may be an empty object

    def glob(self, pattern: str) -> Iterator["ObjectPath"]:
        """Yield what is directly in this prefix and has a name that matches."""
        return (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def files(self) -> list[tuple["ObjectPath", Stat]]:
        """Return all objects below this prefix, at any depth, sorted; a missing one is empty.

        Objects that stand for folders, which consoles of stores create, are left out: their names end in a slash.
        """
        try:
            found = self._call(lambda fs: fs.find(self.url, detail=True))
        except FileNotFoundError as error:
            if is_missing_bucket(error):
                raise
            return []
        objects = ((name, entry) for name, entry in found.items() if entry["type"] == "file" and name[-1] != "/")
        listed = ((self._at(name), _stat(entry)) for name, entry in objects)
        return sorted(pair for pair in listed if pair[0].url.startswith(f"{self.url}/"))

    def rglob(self, pattern: str) -> Iterator["ObjectPath"]:
        """Yield the objects at any depth below this prefix whose names match."""
        return (path for path, _ in self.files() if fnmatchcase(path.name, pattern))

    def read_bytes(self) -> bytes:
        """Return the object's content."""
        return bytes(self._call(lambda fs: fs.cat_file(self.url)))

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the object's content as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Write an object; it replaces an existing one in one step."""
        self._call(lambda fs: fs.pipe_file(self.url, content))
        self._check_size(len(content))

    def write_text(self, text: str) -> None:
        """Write an object as text; it replaces an existing one in one step."""
        self.write_bytes(text.encode())

    def create(self, content: bytes) -> bool:
        """Write an object unless it exists, atomically among all writers; return whether this call has written it.

        Args:
            content: A content that no other writer gives: after an answer that was lost, it shows who was first.
        """
        try:
            self._call(lambda fs: fs.pipe_file(self.url, content, mode="create"))
            self._check_size(len(content))
            return True
        except FileExistsError:
            with suppress(FileNotFoundError):
                return self.read_bytes() == content
            return False

    def upload(self, file: Path) -> None:
        """Write an object from a local file, large ones in parts; it becomes visible as a whole.

        Raises:
            OSError: The store has another number of bytes than the file.
        """
        self._call(lambda fs: fs.put_file(str(file), self.url))
        self._check_size(file.stat().st_size)

    def download(self, file: Path) -> None:
        """Write the object's content to a local file."""
        self._call(lambda fs: fs.get_file(self.url, str(file)))

    def copy_to(self, target: "ObjectPath") -> None:
        """Copy the object within the store, without reading it."""
        self._call(lambda fs: fs.copy(self.url, target.url))

    def open(self) -> "ObjectFile":
        """Open the object to read parts of it."""
        return ObjectFile(self)

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: prefixes exist as soon as there is an object below them."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object; no error if it does not exist."""
        with suppress(FileNotFoundError):
            self._call(lambda fs: fs.rm_file(self.url))

    def remove_tree(self) -> None:
        """Remove all objects below this prefix."""
        remove_all([path for path, _ in self.files()])

    def _check_size(self, expected: int) -> None:
        """Raise ``OSError`` if the object has another size: a gateway may answer instead of the store."""
        with suppress(FileNotFoundError):  # another writer has removed it already
            if (size := self.stat().st_size) != expected:
                raise OSError(errno.EIO, f"the store holds {size:,} bytes of {expected:,}", self.url)

    def _at(self, key: str) -> "ObjectPath":
        scheme = self.url.partition("://")[0]
        return ObjectPath(f"{scheme}://{key.rstrip('/')}")

    def _call(self, operation: Callable[[Any], T]) -> T:
        return retried(lambda: operation(_file_system(self.url.partition("://")[0])), self.url)


class ObjectFile(io.RawIOBase):
    """An object, opened to read parts of it; each ``read`` is one request for exactly those bytes.

    If the object is replaced after it was opened, reading raises ``OSError`` instead of mixing two contents.

    Attributes:
        path: The object.
        size: Its size in bytes.
        etag: Its identity, if the store gives one: another content has another one.
    """

    def __init__(self, path: ObjectPath) -> None:
        super().__init__()
        self.path = path

        def attempt(fs: Any) -> tuple[Any, dict[str, Any]]:
            file = fs.open(path.url, "rb", cache_type="none")
            return file, file.details  # this asks the store

        self._file, details = path._call(attempt)
        self.size, self.etag = int(details["size"]), details.get("ETag")
        self._place, self._lock = 0, threading.Lock()

    def read_at(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to before ``stop``; several threads may call it."""

        def attempt() -> bytes:
            self._file.seek(start)
            content = bytes(self._file.read(stop - start))
            if len(content) != stop - start:
                raise OSError(errno.EIO, f"{len(content):,} bytes instead of {stop - start:,}", self.path.url)
            return content

        with self._lock:
            return retried(attempt, self.path.url) if stop > start else b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position of the next ``read``."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position of the next ``read``."""
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.size}[whence]
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        """Return up to ``size`` bytes; all that follow if it is negative."""
        stop = self.size if size is None or size < 0 else min(self.size, self._place + size)
        content = self.read_at(self._place, stop) if stop > self._place else b""
        self._place += len(content)
        return content


def remove_all(paths: list[ObjectPath]) -> None:
    """Remove objects; those that do not exist are not an error."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda path: path.unlink(missing_ok=True), paths))


@contextmanager
def local_copy(path: "Path | ObjectPath") -> Iterator[Path]:
    """Yield a local file with the content of a file: the file itself, or a temporary copy of an object."""
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        copy = Path(folder) / path.name
        path.download(copy)
        yield copy


def store_problem(error: BaseException) -> str | None:
    """Return what is wrong with the store, in one line with the URL, if an error says so, or one of a Spark worker."""
    if isinstance(error, OSError) and str(error.filename).startswith("s3://"):
        return f"{error.strerror}: {error.filename}"
    found = re.search(r"\[Errno \d+\] ([^\n]+): '(s3://[^'\n]+)'", str(error))
    return f"{found[1]}: {found[2]}" if found else None


def retried(operation: Callable[[], T], url: str) -> T:
    """Call a function until it succeeds, or fails with an error that will not pass, or time is up.

    Raises:
        OSError: What the function raised, with one line as ``strerror`` and the URL as ``filename``.
    """
    until, wait = time.monotonic() + RETRY_SECONDS, 0.1
    while True:
        try:
            return operation()
        except Exception as error:
            explained, may_pass = _explained(error, url)
            if not may_pass or time.monotonic() + wait > until:
                raise explained from error
        time.sleep(wait * random.uniform(0.5, 1))
        wait = min(2 * wait, _MOST_SECONDS)


def _explained(error: Exception, url: str) -> tuple[OSError, bool]:
    """Return (an error with one line and the URL, whether a further attempt may succeed)."""
    kind = type(error).__name__
    text = str(error.strerror if isinstance(error, OSError) and error.strerror else error)
    text = " ".join(text.split())[:_MOST_TEXT] or kind
    lower = text.lower()
    if ("expired" in lower and ("token" in lower or "credential" in lower)) or "invalidtoken" in lower:
        return PermissionError(errno.EACCES, f"the credentials have expired ({text}); renew them", url), False
    if text == "Bad Request":  # a HEAD request is answered without a reason
        denied = "the store refuses the request, as it does if the credentials have expired; renew them"
        return PermissionError(errno.EACCES, denied, url), False
    if kind in _NO_CREDENTIALS:
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machines a role"
        return PermissionError(errno.EACCES, f"there are no credentials for the store ({text}); {hint}", url), False
    if isinstance(error, FileExistsError):
        return FileExistsError(errno.EEXIST, text, url), False
    if isinstance(error, FileNotFoundError):
        missing = _BUCKET if "bucket does not exist" in lower else "there is no such object"
        return FileNotFoundError(errno.ENOENT, missing, url), False
    if isinstance(error, PermissionError):
        return PermissionError(errno.EACCES, f"access to the store is denied ({text})", url), False
    if kind == _CHANGED:
        return OSError(errno.ESTALE, "the object was replaced by another one while it was read", url), False
    if isinstance(error, OSError):
        code = error.errno or errno.EIO
        return OSError(code, text, url), code not in _FINAL and not isinstance(error, IsADirectoryError)
    if kind in _SETTINGS or isinstance(error, ValueError | TypeError | ImportError):
        return OSError(errno.EINVAL, f"{kind}: {text}", url), False
    return OSError(errno.EIO, f"{kind}: {text}", url), True


def is_missing_bucket(error: FileNotFoundError) -> bool:
    """Return whether there is no such bucket, rather than no such object."""
    return error.strerror == _BUCKET


def _stat(entry: dict[str, Any]) -> Stat:
    changed = entry.get("LastModified")
    return Stat(int(entry["size"]), int(changed.timestamp() * 1e9) if changed else 0)


def _file_system(scheme: str) -> Any:
    """Return the file system of fsspec, which it creates once in each process, also after a fork."""
    import fsspec

    return fsspec.filesystem(scheme, use_listings_cache=False)
