"""Versions of datasets under a root: find, stage, publish.

``<root>/<name>/<version>/`` is a version; the file ``<root>/<name>/LATEST`` names the newest. A version is written
in a hidden staging folder beside them and renamed when it is complete, so readers see it whole or not at all.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convoy.dataset.manifest import NAME as MANIFEST
from convoy.errors import DatasetError, did_you_mean

_LATEST = "LATEST"
_STAGING = ".staging-"


def _root(root: str) -> Path:
    return Path(root).expanduser().absolute()


def names(root: str) -> list[str]:
    """Names of the datasets under the root that have at least one version."""
    base = _root(root)
    return sorted(path.name for path in base.iterdir() if versions(root, path.name)) if base.is_dir() else []


def versions(root: str, name: str) -> list[str]:
    """Complete versions of a dataset, oldest first."""
    found = list((_root(root) / name).glob(f"[!.]*/{MANIFEST}"))
    return [path.parent.name for path in sorted(found, key=lambda path: path.stat().st_mtime)]


def find(root: str, name: str, version: str) -> Path:
    """Return the absolute folder of a version.

    Args:
        root: ``dataset.root``.
        name: ``dataset.name``.
        version: A version id, or ``latest``.

    Raises:
        DatasetError: There is no such dataset or version; the message lists those that there are.
    """
    available = versions(root, name)
    if not available:
        others = names(root)
        holds = f"it holds {', '.join(others)}" if others else "it holds none yet; run jobs/ingest.py first"
        raise DatasetError(f"there is no dataset {name!r} under {root!r}; {holds}{did_you_mean(name, others)}")
    if version == "latest":
        try:
            version = (_root(root) / name / _LATEST).read_text().strip()
        except OSError:
            version = available[-1]
    if version not in available:
        raise DatasetError(f"dataset {name!r} has no version {version!r}; it has {', '.join(available)}")
    return _root(root) / name / version


@contextmanager
def staging(root: str, name: str) -> Iterator[Path]:
    """Yield a new hidden folder to write a version into; it is removed if it was not published.

    Raises:
        DatasetError: The root cannot be written to.
    """
    folder = _root(root) / name / f"{_STAGING}{uuid.uuid4().hex[:12]}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise DatasetError(
            f"dataset.root {root!r} cannot be written to ({error.strerror}); choose another or mend it"
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(staged: Path, version: str) -> Path:
    """Make a complete staged version visible, in one step, and return its folder.

    If another writer has published the same version meanwhile, theirs stays: it has the same content.
    """
    target = staged.parent / version
    try:
        os.rename(staged, target)
    except OSError:
        if not (target / MANIFEST).exists():
            raise
    set_latest(target)
    return target


def set_latest(version_path: Path) -> None:
    """Point ``latest`` at a version, in one step."""
    pointer = version_path.parent / _LATEST
    draft = pointer.with_name(f".{_LATEST}-{uuid.uuid4().hex[:8]}")
    draft.write_text(version_path.name + "\n")
    os.replace(draft, pointer)
