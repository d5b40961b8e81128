"""A CSV or Parquet file that lists images: path, label, and optionally split and weight."""

import csv
import os
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from convoy.config import ColumnsConfig
from convoy.config.locations import absolute, is_url
from convoy.dataset.sources.paths import read_file
from convoy.dataset.sources.rows import (
    CSV_OPTIONS,
    check_fields,
    check_paths,
    check_weights,
    classes_of,
    column,
    glob_escaped,
    known_split,
    spark_errors,
    splits_of,
    text,
    weight,
)
from convoy.errors import SourceError, did_you_mean


@dataclass(frozen=True)
class ManifestSource:
    """A file with one row per image: Parquet by its first bytes, else CSV with a header (RFC 4180, UTF-8).

    Attributes:
        path: The file; relative paths in it are relative to its folder.
        columns: Names of its columns.
    """

    path: str
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)

    def check(self) -> None:
        """Raise ``SourceError`` if the file is missing, is not a manifest, or lacks a column."""
        file = absolute(self.path)
        if is_url(file):
            raise SourceError(
                f"source.path {self.path!r} is a URL; a manifest is a file that every node sees: use source.kind table"
                " with source.format csv or parquet"
            )
        if not os.path.exists(file):
            raise SourceError(
                f"source.path {self.path!r} does not exist; expected a CSV or Parquet file that lists images"
            )
        if os.path.isdir(file):
            raise SourceError(
                f"source.path {self.path!r} is a folder; expected a CSV or Parquet file (a folder of Parquet files is"
                " source.kind table, one of images is folder)"
            )
        try:
            names = self._column_names()
        except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
            reason = (
                error.strerror
                if isinstance(error, OSError) and error.strerror
                else (str(error) or type(error).__name__).splitlines()[0]
            )
            raise SourceError(
                f"source.path {self.path!r} cannot be read ({reason}); expected a CSV (UTF-8) or Parquet file"
            ) from None
        for role, name in self._expected(names):
            if names.count(name) != 1:
                found = ", ".join(map(repr, names)) or "none"
                what = "has more than one column" if name in names else "has no column"
                raise SourceError(
                    f"source.path {self.path!r} {what} {name!r} (source.columns.{role}); its columns are"
                    f" {found}{did_you_mean(name, names)}"
                )

    def classes(self, spark: SparkSession) -> list[str]:
        """Return the labels, sorted; raises ``SourceError`` for the first wrong row."""
        with self._spark_errors():
            rows = self._rows(spark)
            if not self._is_parquet():
                check_fields(spark, self._file, self._column_names(), self.columns.path, self._what)
            names = classes_of(rows, self._what)
            check_paths(rows, self._what)
            if "weight" in rows.columns:
                check_weights(rows, self._what)
        return names

    def splits(self, spark: SparkSession) -> set[str]:
        """Return the splits that the split column names; rows without a split are for training."""
        if not self._has_splits():
            return set()
        with self._spark_errors():
            return splits_of(self._rows(spark), self._what)

    def notes(self, spark: SparkSession) -> list[str]:
        """Return no lines: nothing is ignored."""
        return []

    def array_spec(self) -> None:
        """Return None: these are images."""

    def listing(self, spark: SparkSession) -> DataFrame:
        """Return one row per row of the file; ``name`` is the path as written there."""
        with self._spark_errors():
            rows = self._rows(spark)
        folder = os.path.join(os.path.dirname(absolute(self.path)), "")
        path = F.when(F.col("path").rlike("^(/|file:/|[A-Za-z][A-Za-z0-9+.-]+:/)"), F.col("path"))
        return rows.select(
            path.otherwise(F.concat(F.lit(folder), "path")).alias("path"),
            F.col("path").alias("name"),
            "class_name",
            known_split(F.col("split")).alias("split"),
            *(name for name in ("weight",) if name in rows.columns),
        )

    def read(self, path: str) -> bytes:
        """Return the file's bytes."""
        return read_file(path)

    def describe(self) -> dict[str, Any]:
        """Return kind and absolute path."""
        return {"kind": "manifest", "path": absolute(self.path)}

    @property
    def _what(self) -> str:
        return f"manifest {self.path!r}"

    def _spark_errors(self) -> Any:
        return spark_errors(self._what, "is it on every node, and whole?")

    def _expected(self, names: list[str]) -> list[tuple[str, str]]:
        """Return (field, column) of the columns to read; split and weight only if they exist or are configured."""
        roles = {role: getattr(self.columns, role) for role in ("path", "label", "split", "weight")}
        optional = {"split": ColumnsConfig.split, "weight": ColumnsConfig.weight}
        return [
            (role, name)
            for role, name in roles.items()
            if name is not None and (role not in optional or name != optional[role] or name in names)
        ]

    def _has_splits(self) -> bool:
        return self.columns.split in self._column_names()

    @property
    def _file(self) -> str:
        """Return the path of the file for Spark."""
        return glob_escaped(f"file://{absolute(self.path)}")

    def _is_parquet(self) -> bool:
        with open(absolute(self.path), "rb") as file:
            return file.read(4) == b"PAR1"

    def _column_names(self) -> list[str]:
        if self._is_parquet():
            return list(pq.read_schema(absolute(self.path)).names)
        with open(absolute(self.path), encoding="utf-8-sig", newline="") as file:
            return next((row for row in csv.reader(file, strict=True) if row), [])

    def _rows(self, spark: SparkSession) -> DataFrame:
        """Return ``path``, ``class_name``, ``split`` as written; with weights, ``weight`` and ``given_weight`` too."""
        if self._is_parquet():
            frame = spark.read.parquet(self._file)
        else:
            names = self._column_names()
            schema = StructType([StructField(name, StringType()) for name in names])
            frame = spark.read.options(**CSV_OPTIONS).schema(schema).csv(self._file)
        types = {part.name: part.dataType for part in frame.schema}

        def values(name: str) -> Any:
            return text(column(name), types[name], name)

        split = values(self.columns.split) if self.columns.split in types else F.lit(None).cast("string")
        name, weights = self.columns.weight, []
        if name in types:
            number = weight(column(name), types[name], name)
            weights = [number.alias("weight"), column(name).cast("string").alias("given_weight")]
        return frame.select(
            values(self.columns.path).alias("path"),
            values(self.columns.label).alias("class_name"),
            split.alias("split"),
            *weights,
        )
