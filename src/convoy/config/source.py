"""Section ``source``."""

from dataclasses import dataclass, field
from typing import Literal

SourceKind = Literal["digits", "folder", "manifest", "table", "idx", "arrays", "petastorm"]


@dataclass(frozen=True)
class ColumnsConfig:
    """Names of the columns of sources `manifest` and `table`, and of the fields of source `petastorm`."""

    path: str = "path"
    """Path or name of the image file; a relative one is relative to the manifest's folder."""
    image: str = "content"
    """Of a table: encoded bytes or Spark's `image` struct; a column `image` is found too. Where there is neither, the
    files that `path` names are read."""
    label: str = "label"
    """Class name or number; of a table without it, the name of the file's folder is the class."""
    split: str = "split"
    """Split, where there is such a column."""
    weight: str | None = "weight"
    """Weight of a sample, where there is such a column: a number of 0 or more, or nothing for 1. Null instead of a name
    ignores a column `weight`."""


@dataclass(frozen=True)
class SourceConfig:
    """Where the images come from."""

    kind: SourceKind = "folder"
    """`digits` is embedded (scikit-learn's 1,797 handwritten digits); `folder` is <path>/<class>/<image> or
    <path>/<split>/<class>/<image>, recognised by itself; `manifest` is a CSV or Parquet file that lists images; `table`
    is anything that Spark reads; `idx` is a folder with MNIST's own files; `arrays` is an .npz file or a folder of
    .npy files with images, or other arrays, and labels; `petastorm` is a Petastorm dataset."""
    path: str | None = None
    """Folder, file, or for `table` a path or the name of a catalog table; not used by `digits`."""
    format: str | None = None
    """Of a table given by path: Spark's name of its format (parquet, delta, binaryFile, image ...); null is parquet."""
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
