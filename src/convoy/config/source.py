"""Section ``source``."""

from dataclasses import dataclass, field
from typing import Literal

from convoy.config.locations import local_field, local_path, scheme_of, stored_field
from convoy.config.validation import settle

SourceKind = Literal["digits", "folder", "manifest", "table", "idx", "arrays", "petastorm"]


@dataclass(frozen=True)
class ColumnsConfig:
    """Names of the columns of sources `manifest` and `table`, and of the fields of source `petastorm`."""

    path: str = "path"
    """Path or name of the image file; a relative path is relative to the manifest's folder."""
    image: str = "content"
    """Column of a table with encoded bytes or Spark's `image` struct; a column `image` is found too. If there is
    neither, the files that `path` names are read."""
    label: str = "label"
    """Class name or number; in a table without it, the class is the name of the file's folder."""
    split: str = "split"
    """Split; the column is optional."""
    weight: str | None = "weight"
    """Weight of a sample, a number of 0 or more, or nothing for 1; the column is optional. Null instead of a name
    ignores a column `weight`."""


@dataclass(frozen=True)
class SourceConfig:
    """The source of the images."""

    kind: SourceKind = "folder"
    """`digits` is built in (scikit-learn's 1,797 handwritten digits); `folder` is `<path>/<class>/<image>` or
    `<path>/<split>/<class>/<image>`, detected automatically; `manifest` is a CSV, JSON lines or Parquet file that lists
    images; `table` is anything that Spark reads; `idx` is a folder with MNIST's files; `arrays` is an .npz file or a
    folder of .npy files with images, or other arrays, and labels; `petastorm` is a Petastorm dataset."""
    path: str | None = None
    """Folder or file, of `folder` and `manifest` also in an object store (`s3://bucket/images`); for `table`, a path
    or the name of a catalog table; not used by `digits`."""
    format: str | None = None
    """Spark's name of the format of a table given by path (parquet, delta, binaryFile, image ...); null is parquet."""
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)

    def __post_init__(self) -> None:
        if self.path is None or self.kind in ("digits", "table"):  # Spark reads tables at URLs
            return
        in_s3 = scheme_of(self.path) in ("s3", "s3a", "s3n")
        if self.kind == "folder" or (self.kind == "manifest" and in_s3):
            settle(self, "path", stored_field("source.path", self.path, ", or source.kind table with a URL"))
        elif self.kind in ("manifest", "petastorm"):  # these sources name what to use for a URL
            settle(self, "path", local_path(self.path))
        else:
            settle(self, "path", local_field("source.path", self.path, ", or source.kind table with a URL"))
