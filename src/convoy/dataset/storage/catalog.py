"""Versions of datasets under a root: find, stage, publish.

``<root>/<name>/<version>/`` is a version; the file ``<root>/<name>/LATEST`` names the newest. A version is written
to a hidden staging folder beside them and renamed when it is complete, so readers see either all of it or nothing. On
a file system that does not rename folders its files are moved one by one; the manifest, without which it is not a
version, comes last.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from convoy.config.locations import local_field
from convoy.console import say
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
from convoy.dataset.storage.filesystem import move_file, move_folder
from convoy.dataset.storage.manifest import NAME as MANIFEST
from convoy.errors import DatasetError, did_you_mean

_LATEST = "LATEST"
_DRAFT = ".LATEST-"
_STAGING = ".staging-"
_UNFINISHED = ".unfinished"  # in a version that is published file by file


def _root(root: str) -> Path:
    return Path(local_field("dataset.root", root)).expanduser().absolute()


def names(root: str) -> list[str]:
    """Return the names of the datasets under the root that have at least one version."""
    base = _root(root)
    return sorted(path.name for path in base.iterdir() if versions(root, path.name)) if base.is_dir() else []


def versions(root: str, name: str) -> list[str]:
    """Return the complete versions of a dataset, oldest first."""
    found = []
    for path in (_root(root) / name).glob(f"[!.]*/{MANIFEST}"):
        with suppress(FileNotFoundError):  # it is being removed
            found.append((path.stat().st_mtime_ns, path.parent.name))
    return [version for _, version in sorted(found)]


def find(root: str, name: str, version: str) -> Path:
    """Return the absolute folder of a version.

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
        version = _latest(_root(root) / name)
        if version not in available:
            if version:
                say(f"the latest version of {name!r}, {version}, was removed; using the newest left: {available[-1]}")
            version = available[-1]
    if version not in available:
        raise DatasetError(f"dataset {name!r} has no version {version!r}; it has {', '.join(available)}")
    return _root(root) / name / version


@contextmanager
def staging(root: str, name: str) -> Iterator[Path]:
    """Yield a new hidden folder to write a version into; it is removed if it was not published.

    Leftovers of killed writers are removed first, and only those: see ``durable``.

    Raises:
        DatasetError: The root cannot be written to, or its disk is full, now or within the block, on this machine or
            on a Spark worker.
    """
    home = _root(root) / name
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


def publish(staged: Path, version: str) -> Path:
    """Make a complete staged version visible atomically, point ``latest`` at it, and return its folder.

    Everything is synced to the disk before this step, so a version that is visible after a crash is complete.
    Publications on one machine wait for one another: ``latest`` is the one that was published last. If another writer
    has published the same version meanwhile, that one is kept: it has the same content.

    Raises:
        DatasetError: The staged folder is gone, or something other than a version has the version's name.
    """
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


def set_latest(version_path: Path) -> None:
    """Point ``latest`` at a version atomically, and remove leftovers of killed writers beside it.

    Raises:
        DatasetError: The dataset's folder cannot be written to, or its disk is full.
    """
    home = version_path.parent
    with disk_errors(str(home.parent), home):
        with locked(home) as certain:
            left = collect_stale(home, _STAGING, _DRAFT, certain)
            if _latest(home) != version_path.name:
                with _pointer(version_path) as move:
                    move()
        for folder in left:
            remove(folder)


def _latest(home: Path) -> str:
    try:
        return (home / _LATEST).read_text().strip()
    except (OSError, UnicodeDecodeError):
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
