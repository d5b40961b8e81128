"""Splits that the names of Parquet files, or of their folders, stand for: ``train-00000-of-00002``, ``train/0000``."""

import os
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from pyspark.sql import Column
from pyspark.sql import functions as F

from convoy.dataset.sources.hugging_face import parquet_files
from convoy.dataset.sources.split_names import UNLABELLED, splits_among
from convoy.errors import SourceError

_BEGINNING = r"^([A-Za-z][A-Za-z_]*?)(?=[-.]|_?[0-9])"
_STEM = r"^(.*?)(?=([-_.]?\d+(-of-\d+)?(-[0-9a-f]+)?)?(\.\w+)*$)"
_PATTERNS: tuple[tuple[Literal["file", "folder"], str], ...] = (
    ("file", _BEGINNING),
    ("file", _STEM),
    ("folder", "^(.*)$"),
)


@dataclass(frozen=True)
class FileSplits:
    """The splits of Parquet files by their names.

    Attributes:
        of: Whose names have them: those of files, or of the folders that the files are in.
        pattern: Regular expression, for Python and Java, whose first group is the part of the name to look up.
        splits: Part of the name -> split.
    """

    of: Literal["file", "folder"]
    pattern: str
    splits: dict[str, str]

    def column(self) -> Column:
        """Return the split of each row of a DataFrame that reads these files."""
        name = F.col("_metadata.file_name")
        known = self.splits
        if self.of == "folder":
            name = F.regexp_extract(F.col("_metadata.file_path"), "([^/]*)/[^/]*$", 1)
            known = known | {quote(part): split for part, split in known.items()}  # Spark writes a URL
        pairs = (F.lit(text) for pair in known.items() for text in pair)
        return F.create_map(*pairs)[F.regexp_extract(name, self.pattern, 1)]


def splits_of_files(path: str) -> FileSplits | None:
    """Return the splits of Parquet files by their names; None if these have none.

    Args:
        path: A folder, with files or with a folder for each split, or a pattern.

    Raises:
        SourceError: Some files have splits, and others do not.
    """
    files = [] if os.path.isfile(path) else list(parquet_files(path, levels=2))
    if os.path.isdir(path) and (directly := [file for file in files if os.path.dirname(file) == path.rstrip("/")]):
        files = directly
    for of, pattern in _PATTERNS:
        names = [os.path.basename(file if of == "file" else os.path.dirname(file)) for file in files]
        parts = {name: found[1] for name in names if (found := re.match(pattern, name)) and found[1]}
        among = splits_among(set(parts.values()))
        splits = {part: split for part, split in among.items() if split != UNLABELLED}
        if "train" not in splits.values() or len(set(splits.values())) < 2:
            continue  # nothing to keep apart: splits are taken from all samples, as without such names
        if other := next((name for name in names if parts.get(name) not in splits), None):
            raise SourceError(
                f"{path!r} has {of}s of splits, such as {min(splits, key=len)!r}, and beside them {other!r}; expected"
                f" only {of}s of splits: move the others away, or give a pattern as source.path"
            )
        return FileSplits(of, pattern, splits)
    return None
