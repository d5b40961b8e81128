"""Which folders are classes and which are splits: recognised from names and structure, or refused. No Spark."""

import functools
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from convoy.dataset.sources.side_files import is_side_file, is_side_folder
from convoy.dataset.sources.split_names import UNLABELLED, split_name, splits_among
from convoy.errors import SourceError

_SHOWN = 10
_DEPTH = 4
_NOT_AN_IMAGE = re.compile(
    r".*\.(bib|cfg|conf|css|csv|docx?|db|gz|h5|html?|ini|ipynb|js|jsonl?|log|m|mat|md|np[yz]|parquet|pdf|pkl|pt|py|r|rar"
    r"|rst|sh|tar|tex|tgz|toml|tsv|txt|xlsx?|xml|ya?ml|zip|7z)",
    re.IGNORECASE | re.DOTALL,
)
"""Names that are not counted as images without a class; in class folders, the content shows what a file is."""

_OF_IMAGES = {"image", "images", "img", "imgs", "jpg", "jpgs", "jpegimages", "pictures", "photos"}
_OF_TARGETS = re.compile(
    "annotations?|annots|labels?|masks?|bbox(es)?|ground_?truth|gt|imagesets|segmentation(class|s)"
)
_ANY_CLASS = _OF_IMAGES | {"all", "data", "unknown", "unlabeled", "unlabelled"}
_LISTS = (".csv", ".tsv", ".jsonl", ".parquet")
_NUMBERED = ("fold", "batch", "part", "subset", "shard", "chunk")

EVERY_FOLDER = "--source.kind table --source.format binaryFile"
"""Arguments with which the folder of each image is its class, whatever it is called."""

ClassFolder = tuple[str | None, str, str]
"""(split or None, class, folder)."""


@dataclass(frozen=True)
class FolderLayout:
    """The class folders of a folder of images.

    Attributes:
        class_folders: (split or None, class, folder) of each.
        notes: What was taken for what, and warnings of what is left out.
    """

    class_folders: list[ClassFolder]
    notes: list[str]


@dataclass
class _Folder:
    """What is directly in a folder, without side files: folders, files that may be images, and lists of files.

    Attributes:
        images: Number of files that may be images, by their suffix.
        example: The name of the first of them.
    """

    path: str
    folders: list[str] = field(default_factory=list)
    images: int = 0
    example: str = ""
    lists: list[str] = field(default_factory=list)

    def __truediv__(self, name: str) -> "_Folder":
        return _look(os.path.join(self.path, name))

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


@functools.lru_cache(maxsize=100_000)  # for one call of ``read_layout``: folders of classes are large
def _look(path: str) -> _Folder:
    found = _Folder(path)
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                name = os.fsencode(entry.name).decode("utf-8", "replace")
                # Following a link that leads to itself raises an error in scandir.
                if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
                    if not is_side_folder(name):
                        found.folders.append(name)
                elif is_side_file(name):
                    continue
                elif _NOT_AN_IMAGE.fullmatch(name):
                    if name.lower().endswith(_LISTS):
                        found.lists.append(name)
                else:
                    found.images += 1
                    found.example = min(found.example or name, name)
    except OSError:  # a folder that cannot be listed is reported when its files are read
        return _Folder(path, images=1)
    found.folders.sort()
    return found


def read_layout(path: str) -> FolderLayout:
    """Find the class folders below a folder.

    Args:
        path: The folder, which exists.

    Raises:
        SourceError: There are no class folders, or two readings are possible.
    """
    _look.cache_clear()
    try:
        return _read_layout(_look(os.path.abspath(path)))
    finally:
        _look.cache_clear()


def _read_layout(root: _Folder) -> FolderLayout:
    splits = splits_among(root.folders)
    if splits and (layout := _with_splits(root, splits)):
        return layout
    _refuse_split_beside_classes(root, splits)
    if layout := _splits_below_classes(root):
        return layout
    if len(root.folders) < 2:
        _refuse_single(root)
    _refuse_other_collections(root)
    classes: list[ClassFolder] = [(None, name, os.path.join(root.path, name)) for name in root.folders]
    notes = [f"ingest: {_named(root.folders)}, from the folders of {root.path}", *_loose(root, root)]
    if alike := _same_below(root):
        notes.append(
            f"warning: {_quoted(root.folders[:2])} are the classes, but have folders of the same names,"
            f" {_quoted(alike[:2])}; if those are the classes, give {EVERY_FOLDER}"
        )
    return FolderLayout(classes, notes)


def _with_splits(root: _Folder, splits: Mapping[str, str]) -> FolderLayout | None:
    """Return the layout <split>/<class>/<image>; None if the training folder has no class folders."""
    tops = {name: root / name for name in splits}
    known = _known_classes(tops.values())
    inner = {name: _descend(folder, known) for name, folder in tops.items()}
    trained = {name for top, split in splits.items() if split == "train" for name in inner[top].folders}
    if not trained:
        return None
    beside = [name for name in root.folders if name not in splits]
    if wrong := [name for name in beside if _may_hold_images(root / name)]:
        if set(splits.values()) == {"train"} and not any((root / name).folders for name in wrong):
            _refuse_two_readings(root, next(iter(splits)))
        raise SourceError(
            f"source.path {root.path!r} has folders of splits and, beside them, {wrong[0]!r}; expected only splits or"
            f" only classes: move the others away, or, if every folder is a class, give {EVERY_FOLDER}"
        )
    classes: list[ClassFolder] = []
    taken: dict[str, list[str]] = {}
    notes = [f"warning: {_relative(root, root / name)} is left out: it has no images" for name in beside]
    for top, split in splits.items():
        folder = inner[top]
        if split != "train" and (flat := _flat(folder, trained)) is not None:
            notes += _left_out(root, flat, split)
        elif split == UNLABELLED:
            notes += _left_out(root, folder, split)
        else:
            _refuse_targets(folder)
            classes += [(split, name, os.path.join(folder.path, name)) for name in folder.folders]
            taken.setdefault(split, []).append(os.path.relpath(folder.path, root.path))
            notes += _loose(root, folder)
            if folder.path != tops[top].path:
                notes += _loose(root, tops[top])
    names = sorted({name for _, name, _ in classes})
    read = ", ".join(
        f"{split} from {_quoted(taken[split])}" for split in ("train", "validation", "test") if split in taken
    )
    return FolderLayout(classes, [f"ingest: splits: {read}; {_named(names)}", *notes, *_loose(root, root)])


def _known_classes(tops: Iterable[_Folder]) -> set[str]:
    """Return the names that are classes for certain: they are in two splits, and in one of them beside others."""
    lists = [folder.folders for folder in tops]
    several = {name for names in lists if len(names) > 1 for name in names}
    return {name for name in several if sum(name in names for names in lists) > 1}


def _descend(folder: _Folder, known: set[str]) -> _Folder:
    """Return the folder that has the class folders of a split: ``train/train`` or ``train/images`` for ``train``."""
    for _ in range(_DEPTH):
        if len(folder.folders) != 1 or folder.images or folder.folders[0] in known:
            break
        below = folder / folder.folders[0]
        said = split_name(below.name)
        again = below.name == folder.name or (said is not None and not said.rest)
        if not again and (below.images or not below.folders):
            break
        folder = below
    return folder


def _flat(folder: _Folder, trained: set[str]) -> _Folder | None:
    """Return the folder with a split's images if they have no class folders; None if they have."""
    if not folder.folders:
        return folder
    if len(folder.folders) == 1 and not folder.images and (name := folder.folders[0]) not in trained:
        below = folder / name
        if name.lower() in _ANY_CLASS and not below.folders:
            return below
    return None


def _left_out(root: _Folder, folder: _Folder, split: str) -> list[str]:
    where, count = _relative(root, folder), folder.images
    if not count:
        return [f"warning: {where} is left out: it has no images"] if not folder.folders else []
    what = "without a class" if split == UNLABELLED else f"for {split} without class folders"
    return [
        f"warning: left out {count:,} files in {where}, {what}, e.g. {folder.example!r}; to predict their classes, use"
        f" scoring.input {folder.path}"
    ]


def _loose(root: _Folder, folder: _Folder) -> list[str]:
    if not folder.example:
        return []
    return [
        f"warning: left out {folder.images:,} files beside the class folders in {_relative(root, folder)}, e.g."
        f" {folder.example!r}; move them into class folders to use them"
    ]


def _may_hold_images(folder: _Folder) -> bool:
    return folder.images > 0 or any(_may_hold_images(folder / name) for name in folder.folders[:_SHOWN])


def _refuse_split_beside_classes(root: _Folder, splits: Mapping[str, str]) -> None:
    """Raise ``SourceError`` for names of splits that may be classes too, or the only ones without one for training.

    A folder ``train`` whose images are not in class folders can only be a class, the vehicle; one called ``valid`` is a
    class beside ``invalid``.
    """
    others = [name for name in root.folders if name not in splits]
    opposites = {
        name for name in splits if name.lower() == "valid" and any("valid" in other.lower() for other in others)
    }
    given = {name: split for name, split in splits.items() if name not in opposites}
    if not given:
        return
    if "train" in given.values() and others and len(set(given.values())) == 1:
        return
    if others:
        _refuse_two_readings(root, next((name for name in given if given[name] != "train"), next(iter(given))))
    named = _quoted(list(given)[:3])
    if "train" in given.values():
        raise SourceError(_no_class_folders(root, f" in {named}", *(root / name for name in given)))
    nested = any((root / name).folders for name in given)
    raise SourceError(
        f"source.path {root.path!r} has {named}, but no folder for training; expected one, called train"
        + ("" if nested else f"; if these are classes, give {EVERY_FOLDER}")
    )


def _refuse_two_readings(root: _Folder, name: str) -> NoReturn:
    others = _quoted([other for other in root.folders if other != name][:2])
    said = split_name(name)
    move = f"{others} away" if said and said.split == "train" else f"{others} into a folder 'train', or {name!r} away"
    raise SourceError(
        f"source.path {root.path!r} has a folder {name!r} beside {others}, which may be a split or a class; if every"
        f" folder is a class, give {EVERY_FOLDER}; if it is a split, move {move}"
    )


def _no_class_folders(root: _Folder, where: str, *folders: _Folder) -> str:
    return (
        f"source.path {root.path!r} has no class folders{where}; expected <path>/<class>/<image> or"
        f" <path>/<split>/<class>/<image>{_manifest_hint(root, *folders)}"
    )


def _splits_below_classes(root: _Folder) -> FolderLayout | None:
    """Return the layout <class>/<split>/<image>; None if the classes have no folders of splits.

    Raises:
        SourceError: Only some folders have splits, or they are collections with classes of their own.
    """
    below = {name: root / name for name in root.folders}
    splits = {name: splits_among(folder.folders) for name, folder in below.items()}
    divided = [name for name, found in splits.items() if "train" in found.values() and len(set(found.values())) > 1]
    if not divided or len(root.folders) < 2:
        return None
    first = below[divided[0]]
    if any((first / name).folders for name in splits[divided[0]]):
        raise SourceError(
            f"source.path {root.path!r} is above folders with splits; give one of them: --source.path {first.path}"
        )
    odd = [name for name in root.folders if set(splits[name]) != set(below[name].folders) or below[name].images]
    if odd or len(divided) < len(root.folders):
        wrong = (odd or [name for name in root.folders if name not in divided])[0]
        raise SourceError(
            f"source.path {root.path!r} has folders of splits in the class {divided[0]!r}, but not in {wrong!r}, or"
            " not only; expected the same splits in every class, or none"
        )
    classes: list[ClassFolder] = [
        (split, name, os.path.join(below[name].path, top))
        for name, found in splits.items()
        for top, split in found.items()
        if split != UNLABELLED
    ]
    taken = sorted({split for split, _, _ in classes if split})
    line = f"ingest: splits below the classes: {', '.join(taken)}; {_named(root.folders)}"
    return FolderLayout(classes, [line, *_loose(root, root)])


def _refuse_single(root: _Folder) -> None:
    """Raise ``SourceError`` if there are no class folders, or the only one is the parent of the class folders."""
    if not root.folders:
        raise SourceError(_no_class_folders(root, ""))
    folder = root / root.folders[0]
    for _ in range(_DEPTH):
        if len(folder.folders) != 1 or folder.images:
            break
        folder = folder / folder.folders[0]
    if len(folder.folders) > 1 or splits_among(folder.folders):
        raise SourceError(
            f"source.path {root.path!r} has one folder, {root.folders[0]!r}, and the class folders are below it:"
            f" {_quoted(folder.folders[:3])}; give --source.path {folder.path}"
        )


def _refuse_other_collections(root: _Folder) -> None:
    """Raise ``SourceError`` for images beside their annotations, copies of the collection below it, and folds."""
    _refuse_targets(root)
    for name in root.folders:
        folder, others = root / name, set(root.folders) - {name}
        if not folder.images and len(others & set(folder.folders)) >= min(2, len(others)):
            raise SourceError(
                f"source.path {root.path!r} has a folder {name!r} with the same folders as beside it,"
                f" {_quoted(sorted(others & set(folder.folders))[:2])}; is it a copy? Move it away, or give one of both"
            )
    words = {name.rstrip("0123456789").rstrip("_- ").lower() for name in root.folders}
    if len(words) == 1 and words & set(_NUMBERED) and _same_below(root):
        raise SourceError(
            f"source.path {root.path!r} has {_quoted(root.folders[:2])}, with the same folders in each; expected class"
            f" folders: to use the folders below as classes, give {EVERY_FOLDER}"
        )


def _refuse_targets(folder: _Folder) -> None:
    names = {name.lower(): name for name in folder.folders}
    images = [name for name in names if name in _OF_IMAGES]
    targets = [name for name in names if _OF_TARGETS.fullmatch(name)]
    if images and targets:
        raise SourceError(
            f"{folder.path!r} has {_quoted([names[images[0]], names[targets[0]]])}, images beside their annotations;"
            " expected one folder per class, or a CSV file with columns path and label: --source.kind manifest"
        )


def _same_below(root: _Folder) -> list[str]:
    """Return the names of folders that are in every class folder; empty unless there are two or more."""
    common: set[str] | None = None
    for name in root.folders:
        folder = root / name
        common = set(folder.folders) if common is None else common & set(folder.folders)
        if folder.images or len(common) < 2:
            return []
    return sorted(common or ())


def _manifest_hint(*folders: _Folder) -> str:
    lists = [os.path.join(folder.path, name) for folder in folders for name in sorted(folder.lists)]
    if lists:
        return f"; if {os.path.basename(lists[0])} has the labels: --source.kind manifest --source.path {lists[0]}"
    if any(folder.images for folder in folders):
        return ", or a CSV file with columns path and label: --source.kind manifest"
    return ""


def _relative(root: _Folder, folder: _Folder) -> str:
    return repr(root.path if folder.path == root.path else os.path.relpath(folder.path, root.path))


def _named(names: list[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names):,} classes: {', '.join(names[:_SHOWN])}{more}"


def _quoted(names: list[str]) -> str:
    return " and ".join(map(repr, names)) if len(names) < 3 else ", ".join(map(repr, names))
