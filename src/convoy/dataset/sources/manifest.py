"""A CSV, JSON lines or Parquet file that lists images: path, label, and optionally split and weight."""

import csv
import os
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from convoy.config import ColumnsConfig
from convoy.config.locations import absolute, is_object_url, is_url
from convoy.dataset.sources.hugging_face import class_label_names
from convoy.dataset.sources.listing import is_label
from convoy.dataset.sources.manifest_file import ManifestFile, inspect_file
from convoy.dataset.sources.manifest_object import check_row_lengths, inspect_object
from convoy.dataset.sources.paths import read_file
from convoy.dataset.sources.rows import (
    check_fields,
    check_one_class,
    check_paths,
    check_weights,
    classes_of,
    column,
    column_notes,
    known_split,
    label_columns,
    resolved,
    spark_errors,
    splits_of,
    text,
    weight,
)
from convoy.dataset.storage.filesystem import location
from convoy.dataset.storage.object_path import ObjectPath, store_problem
from convoy.errors import SourceError, did_you_mean

_USUAL = {
    "path": ("file_name", "filename", "file", "filepath", "file_path", "image_path", "image", "image_id", "id"),
    "label": ("class", "class_name", "label_name", "category", "target"),
}
"""Columns that are named in the hint for a missing one."""


@dataclass(frozen=True)
class ManifestSource:
    """A file with one row per image: Parquet or JSON lines by its first bytes, else CSV with a header (UTF-8).

    Attributes:
        path: The file; relative paths in it are relative to its folder.
        columns: Names of its columns.
    """

    path: str
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)

    def check(self) -> None:
        """Raise ``SourceError`` if the file is missing, is not a manifest, or lacks a column."""
        try:
            self._check_file()
        except OSError as error:
            if (problem := store_problem(error)) is None:
                raise
            raise SourceError(f"source.path {self.path!r} cannot be read: {problem}") from None

    def _check_file(self) -> None:
        file = self._absolute
        if is_url(file) and not is_object_url(file):
            raise SourceError(
                f"source.path {self.path!r} is a URL; a manifest is a file that every node sees, or in S3: use"
                " source.kind table with source.format csv or parquet"
            )
        stored = location(file)
        if not stored.exists():
            if isinstance(stored, ObjectPath):
                stored.parent.entries()  # raises an error if there is no such bucket
            raise SourceError(
                f"source.path {self.path!r} does not exist; expected a CSV, JSON lines or Parquet file, a list"
                " of images"
            )
        if stored.is_dir():
            raise SourceError(
                f"source.path {self.path!r} is a folder; expected a CSV, JSON lines or Parquet file (a folder of"
                " Parquet files is source.kind table, one of images is folder)"
            )
        try:
            names = self._file.columns
        except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
            if store_problem(error) is not None:
                raise
            reason = (
                error.strerror
                if isinstance(error, OSError) and error.strerror
                else (str(error) or type(error).__name__).splitlines()[0]
            )
            raise SourceError(
                f"source.path {self.path!r} cannot be read ({reason}); expected a CSV (UTF-8), JSON lines or Parquet"
                " file"
            ) from None
        for role, name in self._expected(names):
            if names.count(name) != 1:
                found = ", ".join(map(repr, names)) or "none"
                what = "has more than one column" if name in names else "has no column"
                usual = next((usual for usual in _USUAL.get(role, ()) if usual in names), None)
                hint = did_you_mean(name, names) or (f"; give --source.columns.{role} {usual}" if usual else "")
                if {"images", "annotations"} <= set(names):
                    hint = (
                        ": it seems to be in the format of COCO; write a CSV file with a path and a label in each row"
                    )
                raise SourceError(
                    f"source.path {self.path!r} {what} {name!r} (source.columns.{role}); its columns are {found}{hint}"
                )

    def classes(self, spark: SparkSession) -> list[str]:
        """Return the labels, sorted; raises ``SourceError`` for the first wrong row."""
        with self._spark_errors():
            rows, file = self._rows(spark), self._file
            if file.kind == "csv" and file.etag is not None:
                check_row_lengths(file, resolved(self.columns, file.columns).path, self._what)
            elif file.kind == "csv":
                first = resolved(self.columns, file.columns).path
                check_fields(spark, file.location, file.columns, first, self._what, file.csv_options)
            names = classes_of(rows, self._what)
            check_paths(rows, self._what)
            check_one_class(rows, self._what)
            if "weight" in rows.columns:
                check_weights(rows, self._what)
        return names

    def splits(self, spark: SparkSession) -> set[str]:
        """Return the splits that the split column names; rows without a split are for training."""
        with self._spark_errors():
            columns = self._file.load(spark).columns
            if resolved(self.columns, columns).split not in columns:
                return set()
            return splits_of(self._rows(spark), self._what)

    def notes(self, spark: SparkSession) -> list[str]:
        """Return lines about columns with weights, or with splits that are not used."""
        return column_notes(self.columns, self._file.columns)

    def array_spec(self) -> None:
        """Return None: these are images."""

    def listing(self, spark: SparkSession) -> DataFrame:
        """Return one row per row of the file; ``name`` is the path as written there."""
        with self._spark_errors():
            rows = self._rows(spark)
        folder = os.path.join(os.path.dirname(self._absolute), "")
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
        """Return kind and absolute path, or URL."""
        return {"kind": "manifest", "path": self._absolute}

    @property
    def _absolute(self) -> str:
        return self.path if is_object_url(self.path) else absolute(self.path)

    @property
    def _what(self) -> str:
        return f"manifest {self.path!r}"

    def _spark_errors(self) -> Any:
        return spark_errors(self._what, "is it on every node, and whole?")

    def _expected(self, names: list[str]) -> list[tuple[str, str]]:
        """Return (field, column) of the columns to read; split and weight only if they exist or are configured."""
        columns = resolved(self.columns, names)
        roles = {role: getattr(columns, role) for role in ("path", "label", "split", "weight")}
        optional = {"split": ColumnsConfig.split, "weight": ColumnsConfig.weight}
        return [
            (role, name)
            for role, name in roles.items()
            if name is not None and (role not in optional or name != optional[role] or name in names)
        ]

    @property
    def _file(self) -> ManifestFile:
        columns = self.columns
        expected = {columns.path, columns.label}
        optional = {name for name in (columns.split, columns.weight, f"{columns.label}_name") if name is not None}
        if is_object_url(self.path):
            return inspect_object(self.path, expected, optional)
        return inspect_file(absolute(self.path), expected, optional)

    def _rows(self, spark: SparkSession) -> DataFrame:
        """Return ``path``, ``class_name``, ``split`` as written; with weights, ``weight`` and ``given_weight`` too."""
        file = self._file
        frame = file.load(spark)
        types = {part.name: part.dataType for part in frame.schema}
        columns = resolved(self.columns, frame.columns)
        known = class_label_names(file.copy or file.path, columns.label) if file.kind == "parquet" else None
        label, number = label_columns(frame, columns.label, known if known and all(map(is_label, known)) else None)

        def values(name: str) -> Any:
            return text(column(name), types[name], name)

        split = values(columns.split) if columns.split in types else F.lit(None).cast("string")
        name, weights = columns.weight, []
        if name in types:
            numbers = weight(column(name), types[name], name)
            weights = [numbers.alias("weight"), column(name).cast("string").alias("given_weight")]
        return frame.select(
            values(columns.path).alias("path"),
            label.alias("class_name"),
            split.alias("split"),
            *([] if number is None else [number.alias("number")]),
            *weights,
        )
