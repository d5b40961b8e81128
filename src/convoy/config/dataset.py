"""Section ``dataset``."""

import math
from dataclasses import dataclass, field
from typing import Literal

from convoy.config.locations import stored_field
from convoy.config.validation import require, settle

ResizePolicy = Literal["stretch", "letterbox", "center_crop", "none", "auto"]
ValueRange = Literal["auto", "dtype"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "area"]
Codec = Literal["raw", "png", "jpeg", "keep"]

MAX_SIDE = 1 << 14
"""Largest height and width of a stored image: one of that size takes 768 MiB in RGB."""


@dataclass(frozen=True)
class ImageConfig:
    """Target geometry of every stored image; arrays that are not 8-bit images are stored unchanged."""

    height: int = 32
    """Height in pixels, at most 16,384."""
    width: int = 32
    """Width in pixels, at most 16,384."""
    channels: int = 3
    """1 (grey) or 3 (RGB); images are converted."""
    resize: ResizePolicy = "stretch"
    """How images of other sizes are resized: `stretch` ignores the aspect ratio, `letterbox` keeps it and pads with
    zeros, `center_crop` keeps it and crops, `none` rejects (quarantines) them; `auto` proposes height, width, channels
    and policy from a sample of the images, and prints the reason."""
    interpolation: Interpolation = "bilinear"
    """Interpolation of pixels; all methods except `nearest` use antialiasing when images are reduced in size."""
    value_range: ValueRange | list[float] = "auto"
    """Which values of images with more than 8 bits become black and white: `auto` uses the range that each file states,
    else one range for the dataset, derived from its values and printed; `dtype` the range of the type (of floats 0 to
    1); `[low, high]` these values, e.g. `[0, 4095]`. Values of 8 bits are not changed."""

    def __post_init__(self) -> None:
        expected = f"a number of pixels from 1 to {MAX_SIDE:,}"
        require(0 < self.height <= MAX_SIDE, "dataset.image.height", self.height, expected)
        require(0 < self.width <= MAX_SIDE, "dataset.image.width", self.width, expected)
        require(self.channels in (1, 3), "dataset.image.channels", self.channels, "1 (grey) or 3 (RGB)")
        given = self.value_range
        numbers = not isinstance(given, str) and len(given) == 2 and -math.inf < given[0] < given[1] < math.inf
        right = given in ("auto", "dtype") or numbers
        require(right, "dataset.image.value_range", given, "auto, dtype, or [low, high] with low below high")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (height, width, channels)."""
        return (self.height, self.width, self.channels)


@dataclass(frozen=True)
class StorageConfig:
    """Storage of images in the Petastorm dataset."""

    codec: Codec = "raw"
    """`raw` stores pixels uncompressed, so that a row group is read as one array without decoding; `png` and `jpeg`
    compress each image; `keep` stores the original file if it already has the target geometry, otherwise `png`."""
    jpeg_quality: int = 95
    """Quality of codec `jpeg`, 1 to 100."""
    row_group_mb: float = 8.0
    """Target size of a row group, in MiB; at most 1000."""

    def __post_init__(self) -> None:
        require(1 <= self.jpeg_quality <= 100, "dataset.storage.jpeg_quality", self.jpeg_quality, "1 to 100")
        expected = "a size in MiB above 0 and at most 1000, since a column of a row group has to stay below 2 GiB"
        require(0 < self.row_group_mb <= 1000, "dataset.storage.row_group_mb", self.row_group_mb, expected)


@dataclass(frozen=True)
class DatasetConfig:
    """The dataset, and how ingest creates it."""

    root: str = "work/datasets"
    """Folder that holds all datasets; on a cluster, it must be shared by all workers, or be in an object store
    (`s3://bucket/datasets`)."""
    name: str = "images"
    """Name of the dataset: a folder under the root."""
    version: str = "latest"
    """Version to read: an id as printed by ingest, or `latest`. Ingest ignores it."""
    image: ImageConfig = field(default_factory=ImageConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    validation_fraction: float = 0.1
    """Share of the training images that is held out for validation if the source has no validation split."""
    test_fraction: float = 0.1
    """Share of the images that is held out for the test split if the source has no splits at all."""
    max_bad_fraction: float = 0.01
    """Ingest fails and publishes nothing if more than this share of the images is unusable."""
    class_fractions: dict[str, float] = field(default_factory=dict)
    """Class -> share of its training images that are kept, e.g. `{"0": 0.01}`, to make classes rarer; the choice of
    images depends only on their content. Validation and test splits keep all images."""
    on_leakage: Literal["report", "drop", "fail"] = "report"
    """What to do about images that occur in more than one of the given splits: `report` counts them, `drop` removes the
    copies from the training split (or from validation, if the other copy is in the test split), `fail` stops."""

    def __post_init__(self) -> None:
        settle(self, "root", stored_field("dataset.root", self.root))
        bad = not self.name or self.name.startswith(".") or "/" in self.name or "\\" in self.name
        bad = bad or not self.name.isprintable() or len(self.name.encode()) > 255
        require(not bad, "dataset.name", self.name, "a plain folder name")
        for name in ("validation_fraction", "test_fraction", "max_bad_fraction"):
            require(0 <= getattr(self, name) <= 1, f"dataset.{name}", getattr(self, name), "a share from 0 to 1")
        shares = {str(name): share for name, share in self.class_fractions.items()}  # YAML reads 0 as a number
        object.__setattr__(self, "class_fractions", shares)
        for name, share in shares.items():
            require(0 < share <= 1, f"dataset.class_fractions of class {name!r}", share, "a share above 0, up to 1")
        held_out = self.validation_fraction + self.test_fraction
        require(
            held_out < 1, "dataset.validation_fraction + test_fraction", held_out, "less than 1, to leave training data"
        )
