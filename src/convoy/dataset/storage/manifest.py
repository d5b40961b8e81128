"""``manifest.json``: the contents of a dataset version, with everything that training and scoring need."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convoy import __version__
from convoy.dataset.storage.filesystem import Location, location
from convoy.dataset.storage.object_path import store_problem
from convoy.errors import DatasetError
from convoy.images import ArraySpec, Geometry, ImageProfile

FORMAT = 1
NAME = "manifest.json"


@dataclass(frozen=True)
class FileEntry:
    """One Parquet file of a split.

    Attributes:
        name: File name within the split's folder.
        row_groups: Rows of each row group.
        bytes: Size.
        sha256: Checksum, hex.
    """

    name: str
    row_groups: list[int]
    bytes: int
    sha256: str

    @property
    def rows(self) -> int:
        """Return the number of rows in the file."""
        return sum(self.row_groups)


@dataclass(frozen=True)
class SplitEntry:
    """One split.

    Attributes:
        rows: Samples.
        per_class: Samples of each class, by name, zeros included.
        files: Its files, in the order of their rows.
    """

    rows: int
    per_class: dict[str, int]
    files: list[FileEntry]


@dataclass(frozen=True)
class SizeStatistics:
    """Sizes of the images before resizing, as [height, width] in pixels.

    Attributes:
        smallest: Smallest height and smallest width.
        largest: Largest height and largest width.
        mean: Their means.
        frequent: The up to 200 most frequent sizes, as [height, width, samples].
    """

    smallest: list[int]
    largest: list[int]
    mean: list[float]
    frequent: list[list[int]]


@dataclass(frozen=True)
class Duplicates:
    """Copies among the samples.

    Attributes:
        copies: Samples beyond the first with the same bytes.
        across_splits: Different images that occur in more than one split: leakage.
        across_classes: Different images that occur in more than one class: contradictory labels.
    """

    copies: int
    across_splits: int
    across_classes: int


@dataclass(frozen=True)
class Manifest:
    """A dataset version.

    Attributes:
        name: Name of the dataset.
        version: Version id, from the content and the settings.
        fingerprint: Hash of the content: every sample's bytes, name, class, split and weight, in any order.
        image: Geometry of every image; None if the samples are arrays, which are stored unchanged.
        codec: Storage codec.
        classes: Class names; a label is an index into this list.
        pixel_mean: Mean of each channel over the training split; for images 0 to 255.
        pixel_std: Standard deviation of each channel over the training split.
        class_weights: Weight of each class that balances the training split (as scikit-learn's ``balanced``).
        splits: Splits by name.
        sizes: Sizes of the images before resizing; None for arrays.
        duplicates: Copies in the source, before ``dataset.on_leakage`` took effect.
        settings: The settings of the configuration that shaped the content.
        quarantined: Number of source files that could not be used.
        notes: Key of ``images.REPAIRS`` or ``images.OBSERVATIONS`` -> images; left out of the file if there are none.
        source: Where the images came from.
        created: UTC time, ISO 8601.
        tools: Versions of the software that wrote it.
        shape: Shape of every sample, the channels last; for images, that of ``image``.
        dtype: NumPy's name of the type of every sample's values.
        weighted: Whether samples have a column ``weight``, with their weight in the loss.
        profile: Brightness and sizes of the training images; None for arrays, and for versions of older Convoys that
            did not write it.
        format: Version of this file's layout.
    """

    name: str
    version: str
    fingerprint: str
    image: Geometry | None
    codec: str
    classes: list[str]
    pixel_mean: list[float]
    pixel_std: list[float]
    class_weights: dict[str, float]
    splits: dict[str, SplitEntry]
    sizes: SizeStatistics | None
    duplicates: Duplicates
    settings: dict[str, Any]
    quarantined: int
    source: dict[str, Any]
    created: str
    tools: dict[str, str] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    dtype: str = "uint8"
    weighted: bool = False
    profile: ImageProfile | None = None
    notes: dict[str, int] = field(default_factory=dict)
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.image is not None:
            object.__setattr__(self, "shape", self.image.shape)
        if not self.shape:
            raise ValueError("neither image nor shape")

    @property
    def spec(self) -> ArraySpec:
        """Return shape and type of every sample."""
        return ArraySpec(self.shape, self.dtype)

    def rows(self) -> dict[str, int]:
        """Return a mapping: split -> number of samples."""
        return {name: split.rows for name, split in self.splits.items()}

    def split(self, name: str) -> SplitEntry:
        """Return a split.

        Raises:
            DatasetError: There is no split of that name; the message lists the existing ones.
        """
        if name not in self.splits:
            raise DatasetError(
                f"dataset {self.name} version {self.version} has no split {name!r}; it has {', '.join(self.splits)}"
            )
        return self.splits[name]

    def dumps(self) -> str:
        """Return the manifest as JSON text."""
        values = {**dataclasses.asdict(self), "image": self.image and self.image.to_dict()}
        if not self.notes:
            del values["notes"]
        return json.dumps(values, indent=1) + "\n"

    @classmethod
    def load(cls, version_path: str | Location) -> "Manifest":
        """Read the manifest of the version in that folder, or at that URL.

        Raises:
            DatasetError: The file is missing, damaged, or of a newer format.
        """
        file = (location(version_path) if isinstance(version_path, str) else version_path) / NAME
        try:
            values = json.loads(file.read_text())
            if values["format"] != FORMAT:
                raise DatasetError(
                    f"{file} has format {values['format']}, but Convoy {__version__} reads format {FORMAT}; use the"
                    " Convoy that wrote it, or a newer one"
                )
            values["image"] = values["image"] and Geometry(**values["image"])
            values["shape"] = tuple(int(side) for side in values.get("shape", ()))
            np.dtype(values.get("dtype", "uint8"))
            values["sizes"] = values["sizes"] and SizeStatistics(**values["sizes"])
            values["profile"] = ImageProfile.from_dict(values["profile"]) if values.get("profile") else None
            values["duplicates"] = Duplicates(**values["duplicates"])
            values["splits"] = {
                name: SplitEntry(split["rows"], split["per_class"], [FileEntry(**entry) for entry in split["files"]])
                for name, split in values["splits"].items()
            }
            return cls(**values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if (problem := store_problem(error)) is not None:
                raise DatasetError(f"the dataset cannot be read: {problem}") from None
            raise DatasetError(f"{file} cannot be read ({error}); ingest the dataset again") from None
