"""Check of a version against its manifest. Every byte is read again."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

import pyarrow.parquet as pq

from convoy.dataset.storage.filesystem import Location, opened
from convoy.dataset.storage.manifest import NAME as MANIFEST
from convoy.dataset.storage.manifest import FileEntry, Manifest, SplitEntry
from convoy.dataset.storage.object_path import ObjectPath, local_copy
from convoy.errors import DatasetError

_METADATA = "_common_metadata"
_QUARANTINE = "quarantine"
_PICTURES = "pictures"


def verify(version_path: Location) -> list[str]:
    """Check a version against its manifest.

    Every file exists, with its size, SHA-256 and row groups, and no other file; every split opens as a Petastorm
    dataset with these columns; labels, counts per class, splits and quarantine add up. Opening Petastorm's metadata
    unpickles it, as every Petastorm reader does: verify only versions from a source that you trust.

    Args:
        version_path: Folder of the version.

    Returns:
        The problems, one line each, with paths relative to the folder; empty if there are none.
    """
    try:
        manifest = Manifest.load(version_path)
    except DatasetError as error:
        return [str(error)]
    problems = []
    if manifest.version != version_path.name:
        problems.append(f"{MANIFEST} is of version {manifest.version}, but the folder is named {version_path.name}")
    for name, split in manifest.splits.items():
        problems += _check_split(version_path, name, split, manifest)
    problems += _check_quarantine(version_path, manifest.quarantined)
    problems += _extra_files(version_path, manifest)
    return problems


def is_whole(version_path: Location) -> bool:
    """Check quickly whether a version is usable: its manifest opens, and every file exists with its size."""
    try:
        manifest = Manifest.load(version_path)
    except DatasetError:
        return False
    files = ((name, file) for name, split in manifest.splits.items() for file in split.files)
    paths = ((version_path / name / file.name, file.bytes) for name, file in files)
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _check_split(version_path: Location, name: str, split: SplitEntry, manifest: Manifest) -> Iterator[str]:
    classes = manifest.classes
    if (rows := sum(file.rows for file in split.files)) != split.rows:
        yield f"{name}: its files hold {rows:,} rows, the manifest says {split.rows:,}"
    if (rows := sum(split.per_class.values())) != split.rows:
        yield f"{name}: the counts per class add up to {rows:,}, the manifest says {split.rows:,} rows"
    if unknown := sorted(split.per_class.keys() ^ set(classes)):
        yield f"{name}: counts per class and the list of classes do not agree on {', '.join(map(repr, unknown))}"
    labels = Counter[int]()
    columns: set[str] | None = None
    sound = True
    for file in split.files:
        with ExitStack() as stack:
            path, damage = _intact_copy(version_path / name / file.name, file, stack)
            if path is None:
                yield f"{name}/{file.name}: {damage}"
                sound = False
                continue
            parquet = pq.ParquetFile(path)
            columns = columns or set(parquet.schema_arrow.names)
            if set(parquet.schema_arrow.names) != columns:
                yield f"{name}/{file.name}: its columns differ from those of the split's first file"
            for group in range(parquet.num_row_groups):
                labels.update(parquet.read_row_group(group, columns=["label"]).column("label").to_pylist())
    if sound and labels != Counter({i: split.per_class.get(c, 0) for i, c in enumerate(classes)}):
        yield f"{name}: the labels in its files are not those that the manifest counts per class"
    if columns is not None and ("weight" in columns) != manifest.weighted:
        has = "a" if "weight" in columns else "no"
        yield f"{name}: its files have {has} column 'weight', the manifest says otherwise"
    from convoy.dataset.petastorm.check import metadata_problem  # slow to import, and ``is_whole`` needs none of it

    row_groups = {file.name: len(file.row_groups) for file in split.files}
    spec = manifest.spec if manifest.codec == "raw" else None
    if problem := metadata_problem(version_path / name / _METADATA, columns, row_groups, spec):
        yield f"{name}/{_METADATA}: {problem}"


def _intact_copy(path: Location, entry: FileEntry, stack: ExitStack) -> tuple[Path | None, str | None]:
    """Return (the file, or a local copy of the object, that the stack removes; what is wrong if it is None)."""
    try:
        if (size := path.stat().st_size) != entry.bytes:  # first: it reveals most damage without reading the file
            return None, f"{size:,} bytes, the manifest says {entry.bytes:,}"
        copy = stack.enter_context(local_copy(path))
        with open(copy, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None, "is missing"
    except OSError as error:
        return None, f"cannot be read ({error.strerror})"
    if digest != entry.sha256:
        return None, f"SHA-256 is {digest}, the manifest says {entry.sha256}"
    problem = _check_footer(copy, entry)
    return (None, problem) if problem else (copy, None)


def _check_footer(path: Path, entry: FileEntry) -> str | None:
    try:
        footer = pq.ParquetFile(path).metadata
    except (OSError, ValueError) as error:
        return f"is not a Parquet file ({error})"
    groups = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
    return None if groups == entry.row_groups else f"row groups of {groups} rows, the manifest says {entry.row_groups}"


def _check_quarantine(version_path: Location, quarantined: int) -> Iterator[str]:
    rows = 0
    for path in _sorted((version_path / _QUARANTINE).glob("*.parquet")):
        try:
            with opened(path) as file:
                rows += pq.ParquetFile(file).metadata.num_rows
        except (OSError, ValueError) as error:
            yield f"{_QUARANTINE}/{path.name}: is not a Parquet file ({error})"
            return
    if rows != quarantined:
        yield f"{_QUARANTINE}: lists {rows:,} files, the manifest says {quarantined:,}"


def _sorted(paths: Iterable[Path] | Iterable[ObjectPath]) -> list[Location]:
    found: list[Location] = [*paths]
    return sorted(found, key=str)


def _extra_files(version_path: Location, manifest: Manifest) -> Iterator[str]:
    known = {MANIFEST} | {f"{split}/{_METADATA}" for split in manifest.splits}
    known |= {f"{name}/{file.name}" for name, split in manifest.splits.items() for file in split.files}
    for path in _sorted(version_path.rglob("*")):
        relative = PurePosixPath(str(path)).relative_to(str(version_path))
        listed = relative.parent.name, relative.suffix
        allowed = len(relative.parts) == 2 and listed in ((_QUARANTINE, ".parquet"), (_PICTURES, ".png"))
        if not path.is_dir() and relative.as_posix() not in known and not (allowed and path.name[0] != "."):
            yield f"{relative}: is not in the manifest"
