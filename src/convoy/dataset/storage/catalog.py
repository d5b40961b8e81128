"""Versions of datasets under a root: find, stage, publish.

``<root>/<name>/<version>/`` is a version; the file ``<root>/<name>/LATEST`` names the newest. A version is written
to a hidden staging folder beside them and renamed when it is complete, so readers see either all of it or nothing. On
a file system that does not rename folders its files are moved one by one; the manifest, without which it is not a
version, comes last. For versions in an object store see ``object_catalog``.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from convoy.config.locations import stored_field
from convoy.console import say
from convoy.dataset.storage import object_catalog
from convoy.dataset.storage.durable import (
    collect_stale,
    disk_errors,
    exclusive_dir,
    hidden_name,
    locked,
    remove,
    sync,
    sync_tree,
)
from convoy.dataset.storage.filesystem import Location, location, move_file, move_folder
from convoy.dataset.storage.manifest import NAME as MANIFEST
from convoy.dataset.storage.object_catalog import StagedVersion
from convoy.dataset.storage.object_path import ObjectPath, store_problem
from convoy.errors import DatasetError, did_you_mean

_LATEST = object_catalog.LATEST
_DRAFT = ".LATEST-"
_STAGING = ".staging-"
_UNFINISHED = ".unfinished"  # in a version that is published file by file


def _root(root: str) -> Location:
    return location(stored_field("dataset.root", root))


@contextmanager
def _store_errors(root: str, verb: str = "read") -> Iterator[None]:
    """Turn errors of an object store into a ``DatasetError`` of one line."""
    try:
        yield
    except OSError as error:
        if (problem := store_problem(error)) is None:
            raise
        raise DatasetError(f"dataset.root {root!r} cannot be {verb}: {problem}") from None


def names(root: str) -> list[str]:
    """Return the names of the datasets under the root that have at least one version."""
    base = _root(root)
    if isinstance(base, ObjectPath):
        with _store_errors(root):
            return [path.name for path, is_folder in base.entries() if is_folder and versions(root, path.name)]
    return sorted(path.name for path in base.iterdir() if versions(root, path.name)) if base.is_dir() else []


def versions(root: str, name: str) -> list[str]:
    """Return the complete versions of a dataset, oldest first."""
    found = []
    home = _root(root) / name
    if isinstance(home, ObjectPath):
        with _store_errors(root):
            for folder in home.glob("[!.]*"):
                with suppress(FileNotFoundError):
                    found.append(((folder / MANIFEST).stat().st_mtime_ns, folder.name))
        return [version for _, version in sorted(found)]
    for path in home.glob(f"[!.]*/{MANIFEST}"):
        with suppress(FileNotFoundError):  # it is being removed
            found.append((path.stat().st_mtime_ns, path.parent.name))
    return [version for _, version in sorted(found)]


def find(root: str, name: str, version: str) -> Location:
    """Return the absolute folder of a version, or its URL.

    If ``LATEST`` names a version that was removed, ``latest`` is the newest remaining version, and a line reports it.

    Args:
        root: ``dataset.root``.
        name: ``dataset.name``.
        version: A version id, or ``latest``.

    Raises:
        DatasetError: There is no such dataset or version; the message lists the existing ones.
    """
    available = versions(root, name)
    if not available:
        others = names(root)
        holds = f"it holds {', '.join(others)}" if others else "it holds none yet; run jobs/ingest.py first"
        raise DatasetError(f"there is no dataset {name!r} under {root!r}; {holds}{did_you_mean(name, others)}")
    if version == "latest":
        with _store_errors(root):
            version = _latest(_root(root) / name)
        if version not in available:
            if version:
                say(f"the latest version of {name!r}, {version}, was removed; using the newest left: {available[-1]}")
            version = available[-1]
    if version not in available:
        raise DatasetError(f"dataset {name!r} has no version {version!r}; it has {', '.join(available)}")
    return _root(root) / name / version


@contextmanager
def staging(root: str, name: str, version: str = "") -> Iterator[Location]:
    """Yield a new hidden folder to write a version into; it is removed if it was not published.

    Leftovers of killed writers are removed first, and only those: see ``durable``. In an object store the version's own
    folder is yielded, which is not visible before it is published.

    Args:
        root: ``dataset.root``.
        name: ``dataset.name``.
        version: The id of the version; needed in an object store only.

    Raises:
        DatasetError: The root cannot be written to, or its disk is full, now or within the block, on this machine or
            on a Spark worker.
    """
    home = _root(root) / name
    if isinstance(home, ObjectPath):
        with disk_errors(root, home), object_catalog.staging(home, version) as objects:
            yield objects
        return
    staged = home / hidden_name(_STAGING)
    with ExitStack() as stack:
        try:
            home.mkdir(parents=True, exist_ok=True)
            with locked(home) as certain:
                left = collect_stale(home, _STAGING, _DRAFT, certain)
                stack.enter_context(exclusive_dir(staged))
        except OSError as error:
            raise DatasetError(
                f"dataset.root {root!r} cannot be written to ({error.strerror}: {error.filename}); choose another or"
                " fix it"
            ) from None
        for folder in left:
            remove(folder)
        stack.callback(remove, staged)
        with disk_errors(root, staged):
            yield staged


@contextmanager
def publishing(staged: Location) -> Iterator[bool]:
    """Yield whether to write the version's files beside its data, and to publish it.

    It is False in an object store, if another writer has published the version meanwhile.
    """
    if isinstance(staged, StagedVersion):
        with object_catalog.publishing(staged) as first:
            yield first
    else:
        yield True


def publish(staged: Location, version: str, manifest: str | None = None) -> Location:
    """Make a complete staged version visible atomically, point ``latest`` at it, and return its folder.

    Everything is synced to the disk before this step, so a version that is visible after a crash is complete.
    Publications on one machine wait for one another: ``latest`` is the one that was published last. If another writer
    has published the same version meanwhile, that one is kept: it has the same content.

    Args:
        staged: As ``staging`` yields it.
        version: The id of the version.
        manifest: Text of its manifest; None if the staged folder has it.

    Raises:
        DatasetError: The staged folder is gone, or something other than a version has the version's name.
    """
    if isinstance(staged, StagedVersion):
        assert manifest is not None
        object_catalog.publish(staged, manifest)
        return ObjectPath(staged.url)
    assert isinstance(staged, Path)
    if manifest is not None:
        (staged / MANIFEST).write_text(manifest)
    home, target = staged.parent, staged.parent / version
    sync_tree(staged)
    with locked(home), _pointer(target) as move:
        try:
            whole = move_folder(staged, target, MANIFEST, _UNFINISHED)
            if not whole:
                say(f"note: the file system of {home} cannot rename a folder; {version} was published file by file")
        except OSError as error:
            if not (target / MANIFEST).is_file():
                if target.exists() and not (target / _UNFINISHED).exists():
                    raise DatasetError(f"{target} has no {MANIFEST}, so it is not a version; remove it") from None
                if isinstance(error, FileNotFoundError):
                    raise DatasetError(f"{staged} was removed while it was written; ingest again") from None
                raise
        sync(home)
        move()
    return target


def set_latest(version_path: Location) -> None:
    """Point ``latest`` at a version atomically, and remove leftovers of killed writers beside it.

    Raises:
        DatasetError: The dataset's folder cannot be written to, or its disk is full.
    """
    if isinstance(version_path, ObjectPath):
        with disk_errors(str(version_path.parent.parent), version_path):
            if _latest(version_path.parent) != version_path.name:
                object_catalog.set_latest(version_path)
        return
    home = version_path.parent
    with disk_errors(str(home.parent), home):
        with locked(home) as certain:
            left = collect_stale(home, _STAGING, _DRAFT, certain)
            if _latest(home) != version_path.name:
                with _pointer(version_path) as move:
                    move()
        for folder in left:
            remove(folder)


def _latest(home: Location) -> str:
    try:
        return (home / _LATEST).read_text().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    except OSError:
        if isinstance(home, ObjectPath):
            raise
        return ""


@contextmanager
def _pointer(target: Path) -> Iterator[Callable[[], None]]:
    """Write a pointer to the version beside ``LATEST``, to detect a full disk; yield a function that activates it."""
    draft = target.with_name(hidden_name(_DRAFT))

    def move() -> None:
        move_file(draft, target.with_name(_LATEST))
        sync(target.parent)

    try:
        draft.write_text(target.name + "\n")
        sync(draft)
        yield move
    finally:
        draft.unlink(missing_ok=True)
