"""Folders of images that are refused, with what to give instead: parents, copies, parts, variants, masks. No Spark."""

import itertools
import os
import re
import shlex
from collections.abc import Collection, Iterable, Iterator
from typing import NoReturn

from convoy.dataset.sources.folder_content import FolderContent
from convoy.dataset.sources.split_names import split_name, splits_among, words_of
from convoy.errors import SourceError

EVERY_FOLDER = "--source.kind table --source.format binaryFile"
"""Arguments with which the folder of each image is its class, whatever it is called."""

DEPTH = 4
_OF_IMAGES = {"image", "images", "img", "imgs", "jpg", "jpgs", "jpegimages", "pictures", "photos"}
_OF_TARGETS = re.compile(
    "annotations?|annots|labels?|(lung |binary )?masks?|bbox(es)?|ground_?truth|gt|imagesets"
    "|segmentation(class|s|_?masks?)|trimaps?"
)
ANY_CLASS = _OF_IMAGES | {"all", "data", "unknown", "unlabeled", "unlabelled"}
_NUMBERED = re.compile(r"(.*?)[ _-]*\d+", re.DOTALL)
_PARTS = re.compile(r"(.*[^a-z])?(fold|batch|part|subset|shard|chunk|images?|imgs?|split|folder)", re.DOTALL)
COUNTED = re.compile(r"([a-z]{1,8}[ _.-]?\d+[a-z]{0,2}|\d+[a-z]{1,2})", re.IGNORECASE)
"""Names of folders that are not classes, if all are like that: v1, g01, 40X, camera 3."""
_LIST_OF_LABELS = re.compile("train|label|meta|annot|class|ground")
_LIST_WITHOUT_LABELS = re.compile("submission|test|pred|bbox|box_list")


def give(folder: FolderContent) -> str:
    """Return the argument that names a folder, as a shell takes it."""
    return f"--source.path {shlex.quote(folder.path)}"


def refuse_two_readings(root: FolderContent, name: str) -> NoReturn:
    """Raise ``SourceError`` for a folder that may be a split or a class."""
    others = quoted([other for other in root.folders if other != name][:2])
    said = split_name(name)
    move = f"{others} away" if said and said.split == "train" else f"{others} into a folder 'train', or {name!r} away"
    raise SourceError(
        f"source.path {root.path!r} has a folder {name!r} beside {others}, which may be a split or a class; if every"
        f" folder is a class, give {EVERY_FOLDER}; if it is a split, move {move}"
    )


def refuse_beside_splits(root: FolderContent, name: str) -> NoReturn:
    """Raise ``SourceError`` for a folder with images beside those of splits; it may be a copy of them."""
    inner = single_below(root / name)
    copy = f"if {name!r} is a copy, give {give(inner)}; " if splits_among(inner.folders) else ""
    raise SourceError(
        f"source.path {root.path!r} has folders of splits and, beside them, {name!r}; expected only splits or"
        f" only classes: {copy}move the others away, or, if every folder is a class, give {EVERY_FOLDER}"
    )


def refuse_same_splits(root: FolderContent, splits: Iterable[str]) -> None:
    """Raise ``SourceError`` for ``Train`` beside ``train``: where case matters, one is a copy of the other."""
    known: dict[str, str] = {}
    for name in splits:
        if (other := known.setdefault(name.casefold(), name)) != name:
            raise SourceError(
                f"source.path {root.path!r} has {quoted([other, name])}, which differ only in case; is one a copy of"
                " the other? Move it away"
            )


def refuse_targets(folder: FolderContent) -> None:
    """Raise ``SourceError`` for images beside their masks or annotations: as folders, or as ``1.png``, ``1_mask.png``.

    A class called ``masks`` is one beside ``faces``, but not beside ``images``.
    """
    names = {name.lower(): name for name in folder.folders}
    images = [name for name in names if name in _OF_IMAGES]
    targets = [name for name in names if _OF_TARGETS.fullmatch(name)]
    if images and targets:
        raise SourceError(
            f"{folder.path!r} has {quoted([names[images[0]], names[targets[0]]])}, images beside their annotations;"
            " expected one folder per class, or a CSV file with columns path and label: --source.kind manifest"
        )
    if folder.masks:
        raise SourceError(
            f"{folder.path!r} has {len(folder.masks):,} files such as {folder.masks[0]!r}, named like another image and"
            " so its mask; expected only images: move the masks away, or list the images in a CSV file with columns"
            " path and label: --source.kind manifest"
        )


def refuse_parent(root: FolderContent) -> None:
    """Raise ``SourceError`` if fewer than two folders have images: there is no class, or the classes are below one."""
    full = list(_full(root))
    if not full:
        if root.folders and not root.images and not root.lists:
            return  # each is reported as a class without images
        raise SourceError(no_class_folders(root, ""))
    if len(full) > 1:
        return
    folder = single_below(root / full[0])
    if len(folder.folders) > 1 or splits_among(folder.folders):
        below = [name for name in folder.folders if (folder / name).may_hold_images]
        raise SourceError(
            f"source.path {root.path!r} has images in one folder, {full[0]!r}, and the class folders are below it:"
            f" {quoted(below[:3])}; give {give(folder)}"
        )
    if (root.lists or folder.lists) and (len(root.folders) == 1 or full[0].lower() in ANY_CLASS):
        raise SourceError(no_class_folders(root, "", folder))


def _full(folder: FolderContent) -> Iterator[str]:
    return (name for name in folder.folders if (folder / name).may_hold_images)


def single_below(folder: FolderContent) -> FolderContent:
    """Return the first folder, at any depth, that has images or several folders with images."""
    for _ in range(DEPTH):
        full = [] if folder.images else list(itertools.islice(_full(folder), 2))
        if len(full) != 1 or splits_among(folder.folders):
            break
        folder = folder / full[0]
    return folder


def refuse_collections(root: FolderContent) -> None:
    """Raise ``SourceError`` if the folders are not classes, but collections: copies, parts, variants, initials."""
    for name in root.folders:
        folder, others = root / name, set(root.folders) - {name}
        if others and not folder.images and len(others & set(folder.folders)) >= min(2, len(others)):
            raise SourceError(
                f"source.path {root.path!r} has a folder {name!r} with the same folders as beside it,"
                f" {quoted(sorted(others & set(folder.folders))[:2])}; is it a copy? Move it away, or give one of both"
            )
    full = list(_full(root))
    _refuse_parts(root, full)
    _refuse_split_of_another(root, full)
    hint = f"to use the folders below as classes, give {EVERY_FOLDER}, or list the images in a CSV file"
    if len(full) > 1 and all(_is_initial(root / name) for name in full):
        raise SourceError(
            f"source.path {root.path!r} has folders for initials, such as {full[0]!r} with"
            f" {(root / full[0]).folders[0]!r}; expected class folders: {hint}"
        )
    inner = {name: single_below(root / name) for name in full}
    lists = [folder.folders for folder in inner.values()]
    if len(full) < 2 or any(folder.images or not folder.folders for folder in inner.values()):
        return
    are_counted = all(COUNTED.fullmatch(name) or name.isdecimal() for name in lists[0])
    if all(names == lists[0] for names in lists) and len(lists[0]) > len(full) and not are_counted:
        raise SourceError(
            f"source.path {root.path!r} has {quoted(full[:2])}, with the same {len(lists[0]):,} folders in each, such"
            f" as {lists[0][0]!r}, which may be the classes; give one of them, e.g. {give(inner[full[0]])}; {hint} with"
            " columns path and label"
        )


def _is_initial(folder: FolderContent) -> bool:
    """Return whether a folder is called like the first letter of all folders in it: ``a`` with ``abbey``."""
    if len(folder.name) != 1 or folder.images or not folder.folders:
        return False
    return all(len(name) > 1 and name[0].lower() == folder.name.lower() for name in folder.folders)


def _refuse_parts(root: FolderContent, full: list[str]) -> None:
    """Refuse ``part_1``, ``part_2``: folders that are numbered because one would be too large."""
    known: dict[str, str] = {}
    for name in full:
        match = _NUMBERED.fullmatch(name.lower())
        if match is None or not _PARTS.fullmatch(match[1]):
            continue
        if (other := known.setdefault(match[1], name)) != name:
            nested = not any(folder.images for folder in (single_below(root / other), single_below(root / name)))
            hint = f": to use the folders below as classes, give {EVERY_FOLDER}" if nested else manifest_hint(root)
            alike = nested and (root / name).folders == (root / other).folders
            what = ", with the same folders in each" if alike else ""
            raise SourceError(
                f"source.path {root.path!r} has {quoted([other, name])}{what}, parts of a collection; expected class"
                f" folders{hint}"
            )


def _refuse_split_of_another(root: FolderContent, full: list[str]) -> None:
    """Refuse ``rps`` beside ``rps-test-set``, and a folder ``x_test`` of images beside a collection of folders."""
    words = {name: words_of(name) for name in full}
    for name in full:
        said = split_name(name)
        if said is None or not said.rest or said.split == "train":
            continue
        is_flat = single_below(root / name).images > 0
        for other in full:
            inner = single_below(root / other)
            is_collection = not inner.images and len(inner.folders) > 1
            if other != name and (words[other] == said.rest or (is_flat and is_collection)):
                refuse_two_readings(root, name)


def same_below(root: FolderContent) -> list[str]:
    """Return the names of folders that are in every class folder; empty unless there are two or more."""
    common: set[str] | None = None
    for name in root.folders:
        folder = single_below(root / name)
        common = set(folder.folders) if common is None else common & set(folder.folders)
        if folder.images or len(common) < 2:
            return []
    return sorted(common or ())


def no_class_folders(root: FolderContent, where: str, *folders: FolderContent) -> str:
    """Return the message that a folder has no class folders, with what to give instead."""
    return (
        f"source.path {root.path!r} has no class folders{where}; expected <path>/<class>/<image> or"
        f" <path>/<split>/<class>/<image>{manifest_hint(root, *folders)}"
    )


def manifest_hint(*folders: FolderContent) -> str:
    """Return the end of a message, with the file that seems to have the labels."""
    lists = [os.path.join(folder.path, name) for folder in folders for name in folder.lists]
    if lists:
        likely = min(lists, key=lambda path: _unlikely(os.path.relpath(path, folders[0].path).lower()))
        path = shlex.quote(likely)
        return f"; if {os.path.basename(likely)} has the labels: --source.kind manifest --source.path {path}"
    if any(folder.may_hold_images for folder in folders):
        return ", or a CSV file with columns path and label: --source.kind manifest"
    return ""


def _unlikely(path: str) -> tuple[bool, bool]:
    return _LIST_WITHOUT_LABELS.search(path) is not None, _LIST_OF_LABELS.search(path) is None


def quoted(names: Collection[str]) -> str:
    """Return names for a message."""
    return " and ".join(map(repr, names)) if len(names) < 3 else ", ".join(map(repr, names))
