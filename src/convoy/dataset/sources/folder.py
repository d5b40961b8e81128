"""``<path>/<class>/<image>`` or ``<path>/<split>/<class>/<image>``; ``folder_layout`` detects the layout."""

import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from convoy.cluster.session_facts import parallelism
from convoy.config.locations import is_object_url, stored_absolute
from convoy.dataset.sources.files import Ignored, files_below, find_ignored
from convoy.dataset.sources.folder_layout import ClassFolder, FolderLayout, read_layout
from convoy.dataset.sources.listing import LABEL_EXPECTED, LISTING, LISTING_SCHEMA, is_label
from convoy.dataset.sources.paths import read_file, read_local_file
from convoy.dataset.sources.side_files import is_side_file, is_side_folder
from convoy.dataset.sources.split_names import splits_among
from convoy.dataset.storage.object_path import ObjectPath, store_problem
from convoy.errors import SourceError


@dataclass(frozen=True)
class FolderSource:
    """A folder with one folder per class, and optionally one per split above them.

    Attributes:
        path: The folder.
    """

    path: str

    def check(self) -> None:
        """Raise ``SourceError`` if the folder is missing, unreadable or has no class folders."""
        if is_object_url(self.path):
            self._check_objects()
            self._check_classes()
            return
        folder = Path(self.path)
        if not folder.exists():
            near = folder.parent
            beside = ", ".join(sorted(_folders(near))[:5]) if near.is_dir() else ""
            raise SourceError(
                f"source.path {self.path!r} does not exist; expected a folder of images"
                + (f" ({near} holds: {beside})" if beside else "")
            )
        if not folder.is_dir():
            raise SourceError(f"source.path {self.path!r} is a file; expected a folder <path>/<class>/<image>")
        if not os.access(folder, os.R_OK | os.X_OK):
            raise SourceError(f"source.path {self.path!r} cannot be read; fix its permissions")
        for name in _folders(folder):
            try:
                name.encode()
            except UnicodeEncodeError:
                raise SourceError(f"{self.path!r} has a folder {os.fsencode(name)!r}, not UTF-8; rename it") from None
        _check_links(self.path)
        for name in splits_among(_folders(folder)):
            _check_links(os.path.join(self.path, name))
        for parent in {os.path.dirname(where) for _, _, where in self._class_folders()}:
            _check_links(parent)
        self._check_classes()

    def _check_objects(self) -> None:
        """Raise ``SourceError`` if the object store has nothing at the URL, or gives no access."""
        folder = ObjectPath(self.path)
        try:
            if not folder.entries():
                problem = "is an object" if folder.is_file() else "does not exist"
                raise SourceError(f"source.path {self.path!r} {problem}; expected a folder <path>/<class>/<image>")
            for name in ("_delta_log", ".hoodie"):
                if (folder / name).is_dir():
                    raise SourceError(f"source.path {self.path!r} is a table; expected source.kind table for it")
        except OSError as error:
            raise SourceError(f"source.path {self.path!r} cannot be read: {store_problem(error)}") from None

    def _check_classes(self) -> None:
        """Raise ``SourceError`` for a class without images or with a wrong name, or if there is only one."""
        for _, name, where in self._class_folders():
            if "\ufffd" in name:
                raise SourceError(f"{os.path.dirname(where)!r} has a folder {name!r}, not UTF-8; rename it")
            if not is_label(name):
                raise SourceError(f"{os.path.dirname(where)!r} has a class folder {name!r}; {LABEL_EXPECTED}")
        if len(classes := self.classes()) == 1:
            raise SourceError(
                f"source.path {self.path!r}: there is one class, {classes[0]!r}; a classifier needs two or more"
            )

    def classes(self, spark: SparkSession | None = None) -> list[str]:
        """Return the names of the class folders over all splits, in sorted order."""
        return sorted({name for _, name, _ in self._class_folders()})

    def splits(self, spark: SparkSession | None = None) -> set[str]:
        """Return the splits that have a folder."""
        return {split for split, _, _ in self._class_folders() if split}

    def notes(self, spark: SparkSession) -> list[str]:
        """Return what was taken for what, and lines about files and links to folders that are ignored."""
        layout = self._layout
        ignored = find_ignored(spark, layout.deep) if layout.deep else Ignored()
        ignored.side.update(layout.ignored.side)
        return [*layout.notes, *ignored.lines("ingest")]

    def array_spec(self) -> None:
        """Return None: these are images."""

    def listing(self, spark: SparkSession) -> DataFrame:
        """List the class folders' files on the workers, including files at any depth below a class folder."""
        folders = self._class_folders()
        work = functools.partial(list_folders, folders=folders, root=stored_absolute(self.path))
        tasks = min(len(folders), 4 * parallelism(spark))
        return spark.range(0, len(folders), numPartitions=tasks).mapInArrow(work, LISTING)

    def read(self, path: str) -> bytes:
        """Return the file's bytes."""
        return read_file(path) if is_object_url(path) else read_local_file(path)

    def describe(self) -> dict[str, Any]:
        """Return kind and absolute path, or URL."""
        return {"kind": "folder", "path": stored_absolute(self.path)}

    def _class_folders(self) -> list[ClassFolder]:
        """Return (split or None, class, folder) for every class folder."""
        return self._layout.class_folders

    @functools.cached_property
    def _layout(self) -> FolderLayout:
        return read_layout(self.path)

    def __reduce__(self) -> tuple[type["FolderSource"], tuple[str]]:
        """Leave the layout out of what is sent to the workers."""
        return FolderSource, (self.path,)


def list_folders(
    batches: Iterable[pa.RecordBatch], folders: Sequence[tuple[str | None, str, str]], root: str
) -> Iterator[pa.RecordBatch]:
    """Convert rows (id) to one row per file below the class folders with those indices. Runs on a worker."""
    beside = len(os.path.join(root, ""))
    for batch in batches:
        for split, class_name, folder in (folders[i] for i in batch.column("id").to_pylist()):
            paths = sorted(files_below(folder))
            columns = {
                "path": paths,
                "name": [path[beside:] for path in paths],
                "class_name": [class_name] * len(paths),
                "split": [split] * len(paths),
            }
            yield from pa.table(columns, LISTING_SCHEMA).to_batches(max_chunksize=10_000)


def _folders(path: str | Path) -> list[str]:
    """Return the names of the folders, and of links to folders, that are not side folders."""
    names = (name for name in os.listdir(path) if not is_side_folder(name))
    return [name for name in names if os.path.isdir(os.path.join(path, name))]


def _check_links(path: str) -> None:
    """Raise ``SourceError`` for a broken or circular link, which may be meant as a class or split."""
    here = os.path.realpath(path)
    for name in os.listdir(path):
        link = os.path.join(path, name)
        if is_side_file(name) or is_side_folder(name) or not os.path.islink(link):
            continue
        if not os.path.exists(link):
            raise SourceError(f"{link!r} is a broken link (to {os.readlink(link)!r}); fix or remove it")
        if f"{here}/".startswith(os.path.join(os.path.realpath(link), "")):
            raise SourceError(f"{link!r} is a link back to {os.path.realpath(link)!r}, which contains it; remove it")
