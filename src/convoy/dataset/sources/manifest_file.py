"""The file of a manifest: Parquet, JSON lines or CSV, recognised by its content; its columns without Spark."""

import csv
import itertools
import json
import os
from collections.abc import Collection
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
        path: Its absolute path.
        kind: Its format.
        columns: The names of its columns; of JSON lines, those in the first thousand lines.
        separator: What separates the fields of a CSV file.
    """

    path: str
    kind: Literal["parquet", "json", "csv"]
    columns: list[str]
    separator: str = ","

    @property
    def location(self) -> str:
        """Return the path for Spark."""
        return glob_escaped(f"file://{self.path}")

    def load(self, spark: SparkSession) -> DataFrame:
        """Return the rows; the columns of CSV are text, those of JSON lines have the types of their values."""
        if self.kind == "parquet":
            return spark.read.parquet(self.location)
        if self.kind == "json":
            return spark.read.option("mode", "FAILFAST").json(self.location)
        schema = StructType([StructField(name, StringType()) for name in self.columns])
        return spark.read.options(**CSV_OPTIONS, sep=self.separator).schema(schema).csv(self.location)


def inspect_file(path: str, expected: Collection[str]) -> ManifestFile:
    """Find out the format and the columns of a file.

    Args:
        path: The absolute path of the file.
        expected: Columns that have to be there; they show what separates the fields of CSV.

    Raises:
        OSError: It cannot be read.
        ValueError: It is neither Parquet nor text, or JSON in another form than lines.
    """
    with open(path, "rb") as binary:
        start = binary.read(4096)
    if start.startswith(b"PAR1"):
        return ManifestFile(path, "parquet", list(pq.read_schema(path).names))
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"{", b"[")):
        return ManifestFile(path, "json", _keys(path, start))
    headers = {separator: _header(path, separator) for separator in _SEPARATORS}
    wanted = {name.lower() for name in expected}
    fits = (s for s, names in headers.items() if wanted <= {name.strip().lower() for name in names})
    separator = next(fits, ",")
    return ManifestFile(path, "csv", headers[separator], separator)


def _header(path: str, separator: str) -> list[str]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        return next((row for row in csv.reader(file, delimiter=separator, strict=True) if row), [])


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
