"""What is directly in a folder of images: folders, files by kind, side files. Listed once, without Spark."""

import functools
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from convoy.config.locations import is_object_url
from convoy.dataset.sources.files import is_utf8, path_text
from convoy.dataset.sources.side_files import is_side_folder, kind_of, without_side_files
from convoy.dataset.storage.object_path import ObjectPath

_LISTS = (".csv", ".tsv", ".jsonl", ".parquet")
_OTHERS = (
    "aae avi bat bib cache cfg ckpt conf config css csv db docx? exe gz h5 hdf5 html? ini ipynb joblib jsonl? js"
    " keras lnk lock log lst mat mdb? mkv mov mp[34] names npz m onnx parquet pb pdf pickle pkl pptx? pth? py r rar rst"
    " safetensors sha\\d+ md5 sh sqlite3? tar tex tfrec tfrecords? tflite tgz toml tsv txt url wav weights webm wmv"
    " xlsx? xml xmp ya?ml zip 7z"
)
_NAMES = "licen[cs]e readme copying changelog makefile dockerfile checksums? (md5|sha\\d+)sums?"
_NOT_AN_IMAGE = re.compile(
    rf"(?:.*\.(?:{_OTHERS.replace(' ', '|')})|{_NAMES.replace(' ', '|')})", re.IGNORECASE | re.DOTALL
)
"""Names of files that are not images; of others, the content shows what they are."""
_USUAL = frozenset(("jpg", "jpeg", "png", "bmp", "gif", "tif", "tiff", "webp", "JPG", "JPEG", "PNG"))
_MASK = re.compile(r"(.*?)[ _.-]*[_-](?:mask|seg|segmentation|superpixels|gt|groundtruth|ground_truth)(?:[_-]?\d+)?")
_SHOWN = 10


@dataclass
class FolderContent:
    """What is directly in a folder, without side files.

    Attributes:
        path: The folder.
        folders: The names of its folders, and of links to folders, sorted.
        images: Number of files that may be images, by their names.
        example: The name of the first of them.
        other: The name of a file that is not an image.
        lists: Names of files that may list images.
        side: Kinds of side files and folders, and their number.
        masks: Names of files that are named like another one and ``_mask``, if half of the images have one.
    """

    path: str
    folders: list[str] = field(default_factory=list)
    images: int = 0
    example: str = ""
    other: str = ""
    lists: list[str] = field(default_factory=list)
    side: Counter[str] = field(default_factory=Counter)
    masks: list[str] = field(default_factory=list)

    def __truediv__(self, name: str) -> "FolderContent":
        return content_of(os.path.join(self.path, name))

    @property
    def name(self) -> str:
        """Return the name of the folder."""
        return os.path.basename(self.path)

    def below(self) -> Iterator["FolderContent"]:
        """Yield the folders in it."""
        return (self / name for name in self.folders)

    @functools.cached_property
    def may_hold_images(self) -> bool:
        """Return whether a file that may be an image is in it, or below the first ten folders at each level."""
        folders, seen = [self], set[tuple[int, int]]()
        while folders:
            folder = folders.pop()
            if folder.images:
                return True
            for name in reversed(folder.folders[:_SHOWN]):
                path = os.path.join(folder.path, name)
                if is_object_url(path):
                    folders.append(content_of(path))
                    continue
                with suppress(OSError):
                    status = os.stat(path)
                    if (place := (status.st_dev, status.st_ino)) not in seen:  # links may lead back
                        seen.add(place)
                        folders.append(content_of(path))
        return False


@functools.lru_cache(maxsize=200_000)  # for one call of ``read_layout``
def content_of(path: str) -> FolderContent:
    """List a folder. One that cannot be listed seems to hold an image, so that it is reported when files are read."""
    found = FolderContent(path)
    folders: list[str] = []
    files: list[str] = []
    try:
        for name, is_folder in _entries(path):
            (folders if is_folder else files).append(name)
    except OSError:
        return FolderContent(path, images=1)
    if not is_utf8("\0".join([*folders, *files])):
        folders, files = list(map(path_text, folders)), list(map(path_text, files))
    kept = without_side_files(files)
    if len(kept) < len(files):
        found.side.update(kind_of(name) for name in set(files).difference(kept))
    found.side.update(kind_of(name, folder=True) for name in folders if is_side_folder(name))
    found.folders = sorted(name for name in folders if not is_side_folder(name))
    suffixes = {name.rpartition(".")[2] for name in kept}
    others = set() if suffixes <= _USUAL else {name for name in kept if _NOT_AN_IMAGE.fullmatch(name)}
    images = [name for name in kept if name not in others] if others else kept
    found.images, found.example = len(images), min(images, default="")
    found.other = min(others, default="")
    found.lists = sorted(name for name in others if name.lower().endswith(_LISTS))
    found.masks = _masks_among(images)
    return found


def _entries(path: str) -> Iterator[tuple[str, bool]]:
    """Yield (name, whether it is a folder) of what is directly in a folder, or at a prefix of an object store."""
    if is_object_url(path):
        yield from ((entry.name, is_folder) for entry, is_folder in ObjectPath(path).entries())
        return
    with os.scandir(path) as entries:
        for entry in entries:
            try:
                is_folder = entry.is_dir()
            except OSError:  # a link that leads to itself
                is_folder = False
            yield entry.name, is_folder


def _masks_among(images: list[str]) -> list[str]:
    """Return names such as ``1_mask.png`` beside ``1.png``, if at least half of the images have one."""
    joined = "\0".join(images).lower()
    if not any(word in joined for word in ("mask", "seg", "_gt", "-gt", "truth", "superpixels")):
        return []
    stems = {os.path.splitext(name)[0].lower(): name for name in images}
    pairs = {name: match[1] for stem, name in stems.items() if (match := _MASK.fullmatch(stem)) and match[1] in stems}
    masked = set(pairs.values())
    return sorted(pairs) if masked and 2 * len(masked) >= len(stems) - len(pairs) else []
