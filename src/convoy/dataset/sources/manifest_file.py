"""The file of a manifest: Parquet, JSON lines or CSV, recognised by its content; its columns without Spark."""

import csv
import itertools
import json
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StringType, StructField, StructType

from convoy.dataset.sources.rows import CSV_OPTIONS, glob_escaped

_SEPARATORS = (",", ";", "\t", "|")
_LINES = 1000


@dataclass(frozen=True)
class ManifestFile:
    """A file with one row per image.

    Attributes:
        path: Its absolute path, or its URL in an object store.
        kind: Its format.
        columns: The names of its columns; of JSON lines, those in the first thousand lines.
        separator: What separates the fields of a CSV file.
        spaced: Whether its header has spaces beside the separators (``path, label``): they do not belong to the values.
        etag: Of an object: what identifies its content.
        copy: Of an object: the path of a local copy on the driver.
    """

    path: str
    kind: Literal["parquet", "json", "csv"]
    columns: list[str]
    separator: str = ","
    spaced: bool = False
    etag: str | None = None
    copy: str | None = None

    @property
    def csv_options(self) -> dict[str, str]:
        """Return Spark's options for CSV."""
        spaces = {f"ignore{side}WhiteSpace": str(self.spaced).lower() for side in ("Leading", "Trailing")}
        return CSV_OPTIONS | spaces | {"sep": self.separator}

    @property
    def location(self) -> str:
        """Return the path for Spark."""
        return glob_escaped(f"file://{self.path}")

    def load(self, spark: SparkSession) -> DataFrame:
        """Return the rows; the columns of CSV are text, those of JSON lines have the types of their values."""
        if self.etag is not None:
            from convoy.dataset.sources.manifest_object import load_object  # which knows this class

            return load_object(spark, self)
        if self.kind == "parquet":
            return spark.read.parquet(self.location)
        if self.kind == "json":
            return spark.read.option("mode", "FAILFAST").json(self.location)
        schema = StructType([StructField(name, StringType()) for name in self.columns])
        return spark.read.options(**self.csv_options).schema(schema).csv(self.location)


def inspect_file(path: str, required: Collection[str], optional: Collection[str] = ()) -> ManifestFile:
    """Find out the format and the columns of a file.

    Args:
        path: The absolute path of the file.
        required: Columns that have to be there; they show what separates the fields of CSV.
        optional: Columns that are used if they are there.

    Raises:
        OSError: It cannot be read.
        ValueError: It is neither Parquet nor text, or JSON in another form than lines.
    """
    with open(path, "rb") as binary:
        start = binary.read(4096)
    if start.startswith(b"PAR1"):
        return ManifestFile(path, "parquet", list(pq.read_schema(path).names))
    if start.startswith((b"PK\3\4", b"\x1f\x8b", b"\xd0\xcf\x11\xe0")):
        raise ValueError("an archive, or a spreadsheet: unpack it, or save it as CSV")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("UTF-16: save it as UTF-8")
    if b"\0" in start:
        raise ValueError("not text: it has NUL bytes")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"{", b"[")):
        return ManifestFile(path, "json", _keys(path, start))
    wanted = {name.lower() for name in required}
    for spaced, separator in itertools.product((False, True), _SEPARATORS):
        with suppress(csv.Error):  # with another separator, a quote ends within a field
            names = csv_header(path, separator, spaced)
            if wanted <= {name.lower() for name in names}:
                return ManifestFile(path, "csv", _distinct(names, {*required, *optional}), separator, spaced)
    return ManifestFile(path, "csv", csv_header(path, ","))


def csv_header(path: str, separator: str = ",", spaced: bool = False) -> list[str]:
    """Return the names of the columns of a CSV file, without spaces beside the separators if it is ``spaced``."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=separator, strict=True, skipinitialspace=spaced)
        names = next((row for row in rows if row), [])
    return [name.strip() for name in names] if spaced else names


def _distinct(names: list[str], used: Collection[str]) -> list[str]:
    """Return names for Spark, which takes no two that differ only in case: others than those used are changed."""
    there = {name.lower() for name in names if name in used}
    unclear = {name.lower() for name in used} - there  # which of them is meant, if there are several, is an error
    seen, distinct = set(there), []
    for i, name in enumerate(names):
        is_free = name in used or name.lower() in unclear or name.lower() not in seen
        distinct.append(name if is_free else f"_c{i}")
        seen.add(name.lower())
    return distinct


def _keys(path: str, start: bytes) -> list[str]:
    if start.startswith(b"\xef\xbb\xbf"):
        raise ValueError("JSON lines with a byte order mark; save it without one")
    keys: dict[str, None] = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(itertools.islice(file, _LINES), 1):
            try:
                row = json.loads(line) if line.strip() else {}
            except ValueError:
                row = None
            if not isinstance(row, dict):
                hint = "pandas.read_json(...).to_json(..., orient='records', lines=True) writes them"
                raise ValueError(f"line {number} of {os.path.basename(path)} is not an object of JSON lines; {hint}")
            keys |= dict.fromkeys(row)
    return list(keys)
