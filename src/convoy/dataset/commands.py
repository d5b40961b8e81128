"""The ``convoy datasets`` commands: text for people on stderr, and the same results as values for the JSON line."""

import dataclasses
from typing import Any

from convoy.config import DatasetConfig
from convoy.console import say
from convoy.dataset.storage import catalog, describe
from convoy.dataset.storage.diff import diff
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.dataset.storage.verify import verify
from convoy.errors import DatasetError

_ROOT = DatasetConfig.root


def list_versions(root: str = _ROOT, name: str | None = None) -> dict[str, Any]:
    """List the versions, oldest first, with their contents.

    Args:
        root: Folder that holds all datasets.
        name: Name of the dataset; all of them by default.
    """
    entries = []
    for path in _paths(root, name, None):
        latest = catalog.find(root, path.parent.name, "latest") == path
        entries.append(describe.describe_version(path, latest))
    say(describe.version_table(entries))
    return {"versions": entries}


def show_version(root: str = _ROOT, name: str | None = None, version: str = "latest") -> dict[str, Any]:
    """Summarise the manifest of a version.

    Args:
        root: Folder that holds all datasets.
        name: Name of the dataset; not needed if there is only one.
        version: A version id, or ``latest``.
    """
    path = catalog.find(root, _only(root, name), version)
    manifest = Manifest.load(path)
    say(*describe.manifest_summary(path, manifest))
    return {"dataset": manifest.name, "version": manifest.version, "path": str(path), "rows": manifest.rows()}


def diff_versions(before: str, after: str, root: str = _ROOT, name: str | None = None) -> dict[str, Any]:
    """Show what changed between two versions: samples added, removed or changed, and settings.

    Keeps the paths and digests of both versions in memory: half a gigabyte for a million images.

    Args:
        before: A version id, or ``latest``.
        after: A version id, or ``latest``.
        root: Folder that holds all datasets.
        name: Name of the dataset; not needed if there is only one.
    """
    dataset = _only(root, name)
    first, second = catalog.find(root, dataset, before), catalog.find(root, dataset, after)
    difference = diff(first, second)
    say(*describe.diff_summary(difference))
    return {"dataset": dataset, "before": first.name, "after": second.name, **dataclasses.asdict(difference)}


def verify_versions(root: str = _ROOT, name: str | None = None, version: str | None = None) -> dict[str, Any]:
    """Read every file again and compare it with the manifest; exit with status 1 if anything is wrong.

    Args:
        root: Folder that holds all datasets.
        name: Name of the dataset; all of them by default.
        version: A version id, or ``latest``; all of them by default.
    """
    problems = []
    paths = _paths(root, name, version)
    for path in paths:
        found = verify(path)
        title = f"{path.parent.name} {path.name}"
        say(f"{title}: " + (f"{len(found):,} problem{'s' * (len(found) > 1)}" if found else "no problems"))
        for problem in found:
            say(f"  {problem}")
        problems += [f"{title}: {problem}" for problem in found]
    return {"verified": len(paths), "problems": problems}


def _paths(root: str, name: str | None, version: str | None) -> list[Location]:
    """Return the folders of the requested versions: at least one."""
    if version:
        return [catalog.find(root, _only(root, name), version)]
    datasets = [name] if name else catalog.names(root)
    if not datasets:
        raise DatasetError(f"there are no datasets under {root!r}; run jobs/ingest.py first, or give another --root")
    return [
        catalog.find(root, dataset, found)
        for dataset in datasets
        for found in catalog.versions(root, dataset) or ["latest"]  # "latest" raises the error for a missing dataset
    ]


def _only(root: str, name: str | None) -> str:
    """Return the dataset that was named, or the only one that exists."""
    there = catalog.names(root)
    if name is None and len(there) > 1:
        raise DatasetError(f"{root!r} holds {', '.join(there)}; say which with --name")
    return name or (there[0] if there else DatasetConfig.name)
