"""Which folders are classes and which are splits: recognised from names and structure, or refused. No Spark."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from convoy.config.locations import stored_absolute
from convoy.dataset.sources.files import Ignored
from convoy.dataset.sources.folder_content import FolderContent, content_of
from convoy.dataset.sources.folder_refusals import (
    ANY_CLASS,
    COUNTED,
    DEPTH,
    EVERY_FOLDER,
    give,
    no_class_folders,
    quoted,
    refuse_beside_splits,
    refuse_collections,
    refuse_parent,
    refuse_same_splits,
    refuse_targets,
    refuse_two_readings,
    same_below,
    single_below,
)
from convoy.dataset.sources.split_names import UNLABELLED, split_name, splits_among
from convoy.errors import SourceError

_SHOWN = 10

ClassFolder = tuple[str | None, str, str]
"""(split or None, class, folder)."""


@dataclass(frozen=True)
class FolderLayout:
    """The class folders of a folder of images.

    Attributes:
        class_folders: (split or None, class, folder) of each.
        notes: What was taken for what, and warnings of what is left out.
        ignored: Side files and folders in the class folders without folders of their own, and above all of them.
        deep: The class folders that have folders, which are not listed yet.
    """

    class_folders: list[ClassFolder]
    notes: list[str]
    ignored: Ignored = field(default_factory=Ignored)
    deep: list[str] = field(default_factory=list)


def read_layout(path: str) -> FolderLayout:
    """Find the class folders below a folder.

    Args:
        path: The folder, which exists.

    Raises:
        SourceError: There are no class folders, or two readings are possible.
    """
    content_of.cache_clear()
    try:
        root = content_of(stored_absolute(path))
        return _checked(root, _read_layout(root))
    finally:
        content_of.cache_clear()


def _checked(root: FolderContent, layout: FolderLayout) -> FolderLayout:
    """Look into the class folders: add what is ignored in them, and refuse masks, and classes without images."""
    where = [content_of(folder) for _, _, folder in layout.class_folders]
    for (_, name, _), folder in zip(layout.class_folders, where, strict=True):
        refuse_targets(folder)
        if not folder.may_hold_images and len(folder.folders) <= _SHOWN:
            other = f", only files such as {folder.other!r}" if folder.other else ""
            raise SourceError(f"class {name!r} has no images in {folder.path}{other}; add some, or remove the folder")
    flat = [folder for folder in where if not folder.folders]
    above = {root.path, *(os.path.dirname(folder.path) for folder in where)} - {folder.path for folder in where}
    for folder in (*flat, *map(content_of, above)):
        layout.ignored.side.update(folder.side)
    layout.deep.extend(folder.path for folder in where if folder.folders)
    return layout


def _read_layout(root: FolderContent) -> FolderLayout:
    splits = splits_among(root.folders)
    if splits and (layout := _with_splits(root, splits)):
        return layout
    _refuse_split_beside_classes(root, splits)
    refuse_targets(root)
    if layout := _splits_below_classes(root):
        return layout
    refuse_parent(root)
    refuse_collections(root)
    classes: list[ClassFolder] = [(None, name, os.path.join(root.path, name)) for name in root.folders]
    notes = [f"ingest: {_named(root.folders)}, from the folders of {root.path}", *_loose(root, root)]
    return FolderLayout(classes, [*notes, *_deeper(root)])


def _deeper(root: FolderContent) -> list[str]:
    """Return a warning if no class folder has images itself: the classes may be the folders below."""
    inner = [single_below(folder) for folder in root.below()]
    names = [name for folder in inner for name in folder.folders]
    if any(folder.images or len(folder.folders) < 2 for folder in inner) or all(map(COUNTED.fullmatch, names)):
        return []
    alike = same_below(root)
    below = f"folders of the same names, {quoted(alike[:2])}" if alike else f"folders such as {inner[0].folders[0]!r}"
    return [
        f"warning: {quoted(root.folders[:2])} are the classes, but have {below}; if those are the classes, give"
        f" {EVERY_FOLDER}"
    ]


def _with_splits(root: FolderContent, splits: Mapping[str, str]) -> FolderLayout | None:
    """Return the layout <split>/<class>/<image>; None if the training folder has no class folders."""
    tops = {name: root / name for name in splits}
    known = _known_classes(tops.values())
    inner = {name: _descend(folder, known) for name, folder in tops.items()}
    trained = {name for top, split in splits.items() if split == "train" for name in inner[top].folders}
    if not trained:
        return None
    refuse_same_splits(root, splits)
    several = len(trained) > 1 and len({split for split in splits.values() if split != UNLABELLED}) > 1
    classes: list[ClassFolder] = []
    taken: dict[str, list[str]] = {}
    notes: list[str] = []
    for name in (name for name in root.folders if name not in splits):
        folder = root / name
        if not folder.may_hold_images:
            notes.append(f"warning: {_relative(root, folder)} is left out: it has no images")
        elif several and not _has_classes(folder, trained):
            notes += _left_out(root, single_below(folder), UNLABELLED)
        elif set(splits.values()) == {"train"} and not folder.folders:
            refuse_two_readings(root, next(iter(splits)))
        else:
            refuse_beside_splits(root, name)
    for top, split in splits.items():
        folder = inner[top]
        if split != "train" and (flat := _flat(folder, trained)) is not None:
            notes += _left_out(root, flat, split)
        elif split == UNLABELLED:
            notes += _left_out(root, folder, split)
        else:
            refuse_targets(folder)
            classes += [(split, name, os.path.join(folder.path, name)) for name in folder.folders]
            taken.setdefault(split, []).append(os.path.relpath(folder.path, root.path))
            notes += _loose(root, folder)
            if folder.path != tops[top].path:
                notes += _loose(root, tops[top])
        if split == "train":
            refuse_collections(folder)
            notes += _deeper(folder)
    names = sorted({name for _, name, _ in classes})
    read = ", ".join(
        f"{split} from {quoted(taken[split])}" for split in ("train", "validation", "test") if split in taken
    )
    return FolderLayout(classes, [f"ingest: splits: {read}; {_named(names)}", *notes, *_loose(root, root)])


def _has_classes(folder: FolderContent, known: set[str]) -> bool:
    """Return whether a folder beside those of splits is, or has below it, a folder that is called like a class."""
    inner = single_below(folder)
    names = {folder.name, *folder.folders, *inner.folders, *(name for below in inner.below() for name in below.folders)}
    return not known.isdisjoint(names)


def _known_classes(tops: Iterable[FolderContent]) -> set[str]:
    """Return the names that are classes for certain: they are in two splits, and in one of them beside others."""
    lists = [folder.folders for folder in tops]
    several = {name for names in lists if len(names) > 1 for name in names}
    return {name for name in several if sum(name in names for names in lists) > 1}


def _descend(folder: FolderContent, known: set[str]) -> FolderContent:
    """Return the folder that has the class folders of a split: ``train/train`` or ``train/images`` for ``train``."""
    for _ in range(DEPTH):
        if len(folder.folders) != 1 or folder.images or folder.folders[0] in known:
            break
        below = folder / folder.folders[0]
        said = split_name(below.name)
        again = below.name == folder.name or (said is not None and not said.rest)
        if not again and (below.images or not below.folders):
            break
        folder = below
    return folder


def _flat(folder: FolderContent, trained: set[str]) -> FolderContent | None:
    """Return the folder with a split's images if they have no class folders; None if they have."""
    if not folder.folders:
        return folder
    if len(folder.folders) == 1 and not folder.images and (name := folder.folders[0]) not in trained:
        below = folder / name
        if name.lower() in ANY_CLASS and not below.folders:
            return below
    return None


def _left_out(root: FolderContent, folder: FolderContent, split: str) -> list[str]:
    where, count = _relative(root, folder), folder.images
    if not count:
        return [] if folder.folders else [f"warning: {where} is left out: it has no images"]
    if not folder.example:
        return [f"warning: {where} is left out: its folders are not called like the classes"]
    what = "without a class" if split == UNLABELLED else f"for {split} without class folders"
    return [
        f"warning: left out {count:,} files in {where}, {what}, e.g. {folder.example!r}; to predict their classes, use"
        f" scoring.input {folder.path}"
    ]


def _loose(root: FolderContent, folder: FolderContent) -> list[str]:
    if not folder.example:
        return []
    return [
        f"warning: left out {folder.images:,} files beside the class folders in {_relative(root, folder)}, e.g."
        f" {folder.example!r}; move them into class folders to use them"
    ]


def _refuse_split_beside_classes(root: FolderContent, splits: Mapping[str, str]) -> None:
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
        refuse_two_readings(root, next((name for name in given if given[name] != "train"), next(iter(given))))
    named = quoted(list(given)[:3])
    if "train" in given.values():
        raise SourceError(no_class_folders(root, f" in {named}", *(root / name for name in given)))
    nested = any((root / name).folders for name in given)
    raise SourceError(
        f"source.path {root.path!r} has {named}, but no folder for training; expected one, called train"
        + ("" if nested else f"; if these are classes, give {EVERY_FOLDER}")
    )


def _splits_below_classes(root: FolderContent) -> FolderLayout | None:
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
        raise SourceError(f"source.path {root.path!r} is above folders with splits; give one of them: {give(first)}")
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


def _relative(root: FolderContent, folder: FolderContent) -> str:
    return repr(root.path if folder.path == root.path else os.path.relpath(folder.path, root.path))


def _named(names: list[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names):,} classes: {', '.join(names[:_SHOWN])}{more}"
