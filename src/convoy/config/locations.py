"""Locations as users and tables write them: local paths, ``file:`` and ``dbfs:`` URIs, URLs of object stores.

Everything that a configuration, a command or a row names as a file or folder passes through this module, so that a URL
is never taken for a relative path: without it, ``s3a://bucket/scores`` would be a local folder called ``s3a:``.
"""

import importlib.metadata
import importlib.util
import os
import re
from urllib.parse import unquote

from convoy.errors import ConfigError

_URL = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+):/")
_STORES = "s3 s3a s3n gs gcs abfs abfss adl az wasb wasbs hdfs viewfs dbfs file http https"
_SCHEME = re.compile(
    rf"\s*(?:[\w+.-]+::)*(?=[a-z])([a-z0-9+.-]{{2,}}(?=:/)|(?:{'|'.join(_STORES.split())})(?=:))", re.IGNORECASE
)
"""A scheme, before ``:/`` or as the name of a store; also in chains, as in ``simplecache::s3://bucket``."""
_DRIVE = re.compile(r"\s*[A-Za-z]:[\\/]")  # of Windows: C:\data, which would be a file in the current folder here
_SQLITE = "sqlite:///"
_MODELS = ("models:", "runs:")
_VOLUMES, _DBFS = "/Volumes", "/dbfs"  # where Databricks mounts its volumes and its file system
_OBJECTS = re.compile(r"\s*s3[an]?://(?P<bucket>[^/\s?#*\[\]]+)(?P<key>(/[^?#*\[\]]*)?)", re.IGNORECASE)
_PACKAGE, _OLDEST, _EXTRA = "s3fs", "2024.12", "s3"  # what reads and writes S3, and the extra of Convoy that has it


def is_url(path: str) -> bool:
    """Return whether a path is ``scheme:/...`` or ``scheme://...``."""
    return _URL.match(path) is not None


def scheme_of(path: str) -> str:
    """Return the scheme of a URL in lower case, without its colon; empty for a path."""
    match = _URL.match(path)
    return match[1].lower() if match else ""


def local_path(path: str) -> str:
    """Return the local path of a ``file:`` or ``dbfs:`` URI; other paths and URLs unchanged.

    ``file:///a%20b`` is a URI, and percent-encoded (``image.origin`` and ``input_file_name()`` of Spark,
    ``pathlib.Path.as_uri``); ``file:/a%20b`` is how Hadoop prints a path, literally (``path`` of ``binaryFile``).
    ``dbfs:/Volumes/x`` is ``/Volumes/x``, and ``dbfs:/x`` is ``/dbfs/x``, on a machine that has these folders.
    """
    scheme = scheme_of(path)
    rest = path.partition(":")[2]
    if scheme == "file":
        for host in ("//localhost/", "///"):
            if rest.startswith(host):
                return unquote("/" + rest[len(host) :])
        return path if rest.startswith("//") else rest  # file://host/path is on another machine
    if scheme == "dbfs" and (rest.startswith("///") or not rest.startswith("//")):
        mount, below = _mount_of(rest)
        return mount + below if os.path.isdir(mount) else path
    return path


def _mount_of(path: str) -> tuple[str, str]:
    """Return (the folder where a path of ``dbfs:`` is mounted, the path below it)."""
    path = "/" + path.lstrip("/")
    return (_VOLUMES, path.removeprefix("/Volumes")) if f"{path}/".startswith("/Volumes/") else (_DBFS, path)


def absolute(path: str) -> str:
    """Return a local path absolute and without scheme; URLs unchanged."""
    local = local_path(path)
    return local if is_url(local) else os.path.abspath(os.path.expanduser(local))


def local_field(name: str, given: str, instead: str = "") -> str:
    """Return the local path that a field or an argument names.

    Args:
        name: The field, e.g. ``dataset.root``.
        given: Its value.
        instead: What else the user can give, as the end of the message.

    Raises:
        ConfigError: A URL, or a path of Windows; the message says what to use.
    """
    local = local_path(given)
    if os.name != "nt" and _DRIVE.match(local):
        raise ConfigError(
            f"{name} is {given!r}, a path of Windows; expected a local path{instead}: give the folder where"
            " the drive is mounted, e.g. /mnt/c/..."
        )
    match = _SCHEME.match(local)
    if match is None:
        return local
    raise ConfigError(f"{name} is {given!r}; expected a local path{instead}: {_why_not(match[1].lower(), local)}")


def stored_field(name: str, given: str, instead: str = "") -> str:
    """Return the local path, or the URL in an object store (``s3://bucket/folder``), that a field names.

    Args:
        name: The field, e.g. ``dataset.root``.
        given: Its value; ``s3a:`` and ``s3n:``, as Hadoop writes them, are ``s3:``.
        instead: What else the user can give, as the end of the message.

    Raises:
        ConfigError: Another URL, a path of Windows, or a URL of S3 without the package for it.
    """
    match = _SCHEME.match(given)
    if match is None or match[1].lower() not in ("s3", "s3a", "s3n"):
        return local_field(name, given, instead)
    found = _OBJECTS.fullmatch(given.rstrip())
    if found is None:
        raise ConfigError(f"{name} is {given!r}; expected a URL of S3 as s3://bucket/folder, without ?, #, * and []")
    if importlib.util.find_spec(_PACKAGE) is None or _is_old():
        raise ConfigError(
            f"{name} is {given!r}; object stores need the package {_PACKAGE}, {_OLDEST} or newer, here and on all"
            f" workers: pip install 'convoy-ml[{_EXTRA}]', or give a local path{instead}"
        )
    return "/".join(["s3:/", found["bucket"], *filter(None, found["key"].split("/"))])


def _is_old() -> bool:
    """Return whether the package for S3 cannot create an object exclusively."""
    try:
        return tuple(map(int, importlib.metadata.version(_PACKAGE).split(".")[:2])) < tuple(
            map(int, _OLDEST.split("."))
        )
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False


def is_object_url(path: str) -> bool:
    """Return whether a path is a URL in an object store, as ``stored_field`` returns it."""
    return path.startswith("s3://")


def stored_absolute(path: str) -> str:
    """Return a URL in an object store unchanged, and another path absolute."""
    return path if is_object_url(path) else os.path.abspath(os.path.expanduser(path))


def stored_or_named(name: str, given: str, prefixes: tuple[str, ...], instead: str = "") -> str:
    """Return what ``stored_field`` returns, and values that begin with a prefix, e.g. ``table:``, unchanged."""
    return given if given.startswith(prefixes) else stored_field(name, given, instead)


def local_or_named(name: str, given: str, prefixes: tuple[str, ...], instead: str = "") -> str:
    """Return what ``local_field`` returns, and values that begin with a prefix, e.g. ``table:``, unchanged."""
    return given if given.startswith(prefixes) else local_field(name, given, instead)


def local_or_model(name: str, given: str) -> str:
    """Return what ``local_field`` returns, and the URI of an MLflow model unchanged."""
    return local_or_named(name, given, _MODELS, ", or a model URI such as models:/digits/3")


def local_database(name: str, uri: str) -> str:
    """Return the URI of a database; the file that a ``sqlite:///`` URI names is a local path.

    Raises:
        ConfigError: The file is a URL.
    """
    if not uri.startswith(_SQLITE):
        return uri
    return _SQLITE + local_field(name, uri.removeprefix(_SQLITE), " after sqlite:///")


def unreadable(path: str) -> str:
    """Return why a URL that names no local file cannot be read as one; empty for local paths and other URLs."""
    scheme, local = scheme_of(path), local_path(path)
    if scheme in ("file", "dbfs") and is_url(local):
        return _why_not(scheme, local)
    return f"{scheme}: needs two slashes, {scheme}://..." if is_url(local) and "://" not in local else ""


def _why_not(scheme: str, path: str) -> str:
    if scheme == "dbfs":
        return f"this machine has no folder {_mount_of(path.partition(':')[2])[0]}, where Databricks mounts {path}"
    if scheme == "file":
        return "a file: URI of this machine begins with file:/ or file:///"
    return f"{scheme}: is not supported here; give the path where the store is mounted, e.g. /Volumes/... or /mnt/..."
