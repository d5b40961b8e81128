"""Any table that Spark reads: Parquet, Delta, a catalog table, the layouts ``binaryFile`` and ``image``."""

import csv
import io
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, StructField, StructType

from convoy.config import ColumnsConfig
from convoy.config.locations import absolute, is_url, local_path, scheme_of
from convoy.dataset.sources.file_splits import FileSplits, splits_of_files
from convoy.dataset.sources.files import Ignored
from convoy.dataset.sources.hugging_face import class_label_names, parquet_files
from convoy.dataset.sources.listing import is_label
from convoy.dataset.sources.manifest_file import csv_header
from convoy.dataset.sources.paths import read_file
from convoy.dataset.sources.rows import (
    CSV_OPTIONS,
    check_fields,
    check_one_class,
    check_paths,
    check_weights,
    classes_of,
    column,
    column_notes,
    glob_escaped,
    known_split,
    label_columns,
    resolved,
    spark_errors,
    splits_of,
    text,
    weight,
)
from convoy.dataset.sources.side_files import SIDE_PATH, is_side_file, is_side_folder, kind_of
from convoy.dataset.sources.split_names import splits_among
from convoy.dataset.sources.table_folders import TableFolder, find_table, matches_of, partition_base, table_of
from convoy.dataset.sources.table_reading import log_table_at, read_table_folder, read_with_text_partitions
from convoy.errors import SourceError, did_you_mean

_FILE_LAYOUTS = ("binaryfile", "image")
_IMAGE_STRUCT = {"origin", "height", "width", "nChannels", "mode", "data"}
_CHANNELS_OF_MODE = {0: 1, 16: 3, 24: 4}  # OpenCV's CV_8UC1, CV_8UC3 and CV_8UC4
_MOST_FOLDERS = 1000
_OUTPUT_BYTES = 16 << 20


@dataclass(frozen=True)
class Columns:
    """The columns of a table by role; None for roles that it does not have."""

    content: Column | None
    is_struct: bool
    path: Column | None
    label: Column | None
    number: Column | None
    split: Column | None
    weight: Column | None
    given_weight: Column | None


@dataclass(frozen=True)
class TableSource:
    """A table whose rows hold images, or name image files.

    Attributes:
        path: A path or URL that Spark reads, or the name of a catalog table.
        format: Spark's name of the format; None is Parquet.
        columns: Names of the columns.
    """

    path: str
    format: str | None = None
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)

    def check(self) -> None:
        """Raise ``SourceError`` for files that are not a table; ``classes`` reports what only Spark can detect."""
        if self._is_path():
            self._table_folder()
        if (self.format or "").lower() == "csv" and not is_url(absolute(self.path)):
            self._check_headers()

    def _check_headers(self) -> None:
        """Raise ``SourceError`` if CSV files have other columns than the first: Spark takes its header for all."""
        path = absolute(self.path)
        files = [os.path.join(path, name) for name in os.listdir(path)] if os.path.isdir(path) else matches_of(path)
        first: tuple[str, list[str]] | None = None
        for file in sorted(file for file in files if os.path.isfile(file) and os.path.basename(file)[0] not in "._"):
            with suppress(OSError, ValueError, csv.Error):  # Spark reports it
                found = csv_header(file)
                first = first or (file, found)
                if found != first[1]:
                    raise SourceError(
                        f"{self._what}: {first[0]!r} has the columns {', '.join(first[1])}, and {file!r}"
                        f" {', '.join(found)}; expected the same in all files, in the same order"
                    )

    def classes(self, spark: SparkSession) -> list[str]:
        """Return the labels, sorted; raises ``SourceError`` if the table or a column is missing, or a row is wrong."""
        with self._spark_errors():
            frame, there = self._load(spark)
            if (self.format or "").lower() == "csv":
                first = resolved(self.columns, frame.columns).path
                check_fields(spark, self._escaped(), frame.columns, first, self._what)
            rows = self._survey_rows(frame, there)
            names = classes_of(rows, self._what)
            if there.content is None:
                check_paths(rows, self._what)
                check_one_class(rows, self._what)
            if there.weight is not None:
                check_weights(rows, self._what)
        return names

    def splits(self, spark: SparkSession) -> set[str]:
        """Return the splits that the split column names; rows without a split are for training."""
        with self._spark_errors():
            frame, there = self._load(spark)
            return set() if there.split is None else splits_of(self._survey_rows(frame, there), self._what)

    def notes(self, spark: SparkSession) -> list[str]:
        """Return lines about splits in names of files, columns, and side files, which the layouts of files ignore."""
        if not self._is_path() or (self.format or "").lower() not in _FILE_LAYOUTS:
            with self._spark_errors():
                names = self._load(spark)[0].columns
            lines = column_notes(self.columns, names)
            if resolved(self.columns, names).split not in names and (found := self._splits_of_files()):
                taken = ", ".join(f"{name} is {split}" for name, split in found.splits.items())
                lines.insert(0, f"ingest: splits by the names of {found.of}s: {taken}")
            return lines
        with self._spark_errors():
            reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
            paths = reader.load(self._escaped()).select("path")
            rows = paths.where(self._is_side(F.col("path"))).collect()
            lines = Ignored(Counter(_side_kind(row.path) for row in rows)).lines("ingest")
            _, there = self._load(spark)
            if there.label is None and there.split is None:
                lines += self._split_folders(paths)
        return lines

    def _split_folders(self, paths: DataFrame) -> list[str]:
        """Return a warning if files are below folders that seem to be splits, which are not taken for any."""
        below = F.regexp_extract(self._name(F.col("path")), "([^/]+)/[^/]+/[^/]+$", 1)
        names = [row[0] for row in paths.select(below).distinct().limit(_MOST_FOLDERS).collect()]
        found = splits_among(names)
        if "train" not in found.values() or len(set(found.values())) < 2:
            return []
        some = " and ".join(map(repr, list(found)[:2]))
        return [
            f"warning: {some} are not taken for splits: each image has the class of its folder, and no split; to keep"
            f" them, use source.kind folder, or call them 'split={next(iter(found))}', and the classes 'label=...'"
        ]

    def array_spec(self) -> None:
        """Return None: these are images."""

    def listing(self, spark: SparkSession) -> DataFrame:
        """Return one row per row of the table; with ``content`` if the images are in the table.

        ``name`` is the path that the table gives, relative to ``source.path`` if below it, else derived from the
        content's hash. Rows with the same name have the same content.
        """
        with self._spark_errors():
            frame, there = self._load(spark)
            weights = [] if there.weight is None else [there.weight.alias("weight")]
            facts = [self._label(there).alias("class_name"), known_split(self._split(there)).alias("split"), *weights]
            if there.content is None and there.path is not None:
                path, name = self._resolved(there.path), self._name(there.path)
                return frame.select(path.alias("path"), name.alias("name"), *facts)
            assert there.content is not None  # ``_find`` rejects tables with neither
            hashed = there.content["data"] if there.is_struct else there.content
            unnamed = F.concat_ws("/", self._label(there), F.substring(F.sha2(hashed, 256), 1, 32))
            name = unnamed if there.path is None else F.coalesce(self._name(there.path), unnamed)
            if self._has_homonyms(frame, there):
                name = F.concat_ws("#", name, F.substring(F.sha2(hashed, 256), 1, 32))
            if there.is_struct:
                path = name if there.path is None else F.coalesce(there.path, name)
                rows = frame.select(path.alias("path"), name.alias("name"), *facts, there.content.alias("content"))
                listing = StructType([*rows.schema.fields[:-1], StructField("content", BinaryType())])
                return rows.mapInArrow(encode_structs, listing)
            content = F.coalesce(there.content, F.lit(b""))  # "empty" is a reason for quarantine, null is not
            return frame.select(name.alias("path"), name.alias("name"), *facts, content.alias("content"))

    def read(self, path: str) -> bytes:
        """Return the bytes of the file that a row without an image names."""
        return read_file(path)

    def describe(self) -> dict[str, Any]:
        """Return kind, path or name, and format."""
        if not self._is_path():
            return {"kind": "table", "path": self.path}
        table = self._table_folder()
        kind = self.format or "parquet" if table is None else table.format
        return {"kind": "table", "path": absolute(self.path), "format": kind}

    @property
    def _what(self) -> str:
        return f"table {self.path!r}"

    def _spark_errors(self) -> Any:
        if self._is_path():
            known = f"expected a path that Spark reads as {self.format or 'parquet'} (source.format)"
            if self.format and self.format.lower() not in (*_FILE_LAYOUTS, "parquet", "csv", "orc", "json", "avro"):
                known += "; a format that Spark does not have needs its jar: see spark.jars.packages in spark.conf"
            return spark_errors(self._what, known)
        return spark_errors(self._what, "expected the name of a catalog table, or a path")

    def _is_path(self) -> bool:
        return self.format is not None or "/" in self.path or os.path.exists(self.path)

    def _escaped(self) -> str:
        """Return the path for Spark: a pattern, unless a file of that name exists."""
        path = self._expanded()
        return glob_escaped(path) if os.path.exists(path) else path

    def _expanded(self) -> str:
        return os.path.expanduser(self.path)

    def _load(self, spark: SparkSession) -> tuple[DataFrame, Columns]:
        if not self._is_path():
            frame = spark.table(self.path)
            return frame, self._find(frame)
        if (table := self._table_folder(spark)) is not None:
            scheme = "file://" if scheme_of(self.path) == "file" else ""
            frame = read_table_folder(spark, table, f"source.path {self.path!r}", scheme)
            return frame, self._find(frame)
        kind = self.format or "parquet"
        path = self._escaped()
        options = dict(CSV_OPTIONS) if kind.lower() == "csv" else {}
        if (base := partition_base(self.path)) != self.path.rstrip("/") and not os.path.exists(self._expanded()):
            options["basePath"] = os.path.expanduser(base)  # a pattern: keep all partition columns
        frame = read_with_text_partitions(spark, kind, options, [path])
        if kind.lower() in _FILE_LAYOUTS and resolved(self.columns, frame.columns).label not in frame.columns:
            # Folders like label=cat become columns; in all others, files are only found by a recursive lookup.
            frame = read_with_text_partitions(spark, kind, {**options, "recursiveFileLookup": "true"}, [path])
        there = self._find(frame)
        if kind.lower() in _FILE_LAYOUTS and there.path is not None:
            frame = frame.where(~self._is_side(there.path))
        return frame, there

    def _table_folder(self, spark: SparkSession | None = None) -> TableFolder | None:
        """Return the table in local files that the path names, or the one with a log that it names at a URL."""
        if (self.format or "parquet").lower() != "parquet":
            return None
        path = local_path(self._expanded())
        table = None if is_url(path) else find_table(path, "source.path")
        if table is None and os.path.isdir(path) and (file := next(parquet_files(path), None)) is not None:
            raise SourceError(
                f"source.path {self.path!r} has no Parquet files itself; they are in folders below it: give"
                f" --source.path {shlex.quote(table_of(file))}"
            )
        if table is not None or os.path.exists(path) or spark is None:
            return table
        return log_table_at(spark, path, f"source.path {path!r}")

    def _find(self, frame: DataFrame) -> Columns:
        """Find the columns; raise ``SourceError`` for a column that is missing or of a type that cannot hold images."""
        types = {part.name: part.dataType for part in frame.schema}
        default, columns = ColumnsConfig(), resolved(self.columns, frame.columns)
        for role in ("path", "image", "label", "split", "weight"):
            name = getattr(columns, role)
            if name is not None and name not in types and name != getattr(default, role):
                raise SourceError(self._missing(f"no column {name!r} (source.columns.{role})", name, frame))
        there = {role: getattr(columns, role) for role in ("path", "split")}
        found = {role: text(column(name), types[name], name) for role, name in there.items() if name in types}
        label = number = None
        if columns.label in types:
            label, number = label_columns(frame, columns.label, self._class_names(columns.label))
        image = columns.image
        if image not in types and image == default.image:
            image = "image"  # the column's name in Spark's image source and in Hugging Face's Parquet files
        content, is_struct, path = None, False, found.get("path")
        if image in types:
            content, kind = column(image), types[image]
            fields = set(kind.names) if isinstance(kind, StructType) else set()
            if is_struct := fields >= _IMAGE_STRUCT:
                path = content["origin"] if path is None else path
            elif "bytes" in fields:  # Hugging Face's {bytes, path}
                path = content["path"] if path is None and "path" in fields else path
                content = content["bytes"]
            elif not isinstance(kind, BinaryType):
                raise SourceError(
                    f"{self._what}: column {image!r} (source.columns.image) is of type {kind.simpleString()[:60]};"
                    " expected encoded bytes (binary), Spark's image struct, or a struct with bytes; for file names use"
                    " source.columns.path"
                )
        elif path is None:
            raise SourceError(
                self._missing(f"neither images ({image!r}) nor paths ({self.columns.path!r})", image, frame)
            )
        if label is None and path is None:
            raise SourceError(self._missing(f"no labels ({self.columns.label!r})", self.columns.label, frame))
        weights: tuple[Column | None, Column | None] = (None, None)
        split = found.get("split")
        if split is None and (splits := self._splits_of_files()):
            split = splits.column()
        if (name := columns.weight) in types:
            weights = (weight(column(name), types[name], name), column(name).cast("string"))
        return Columns(content, is_struct, path, label, number, split, *weights)

    def _class_names(self, label: str) -> list[str] | None:
        """Return the names of numbered classes that Hugging Face's metadata has."""
        names = class_label_names(absolute(self.path), label) if self._is_local_parquet() else None
        return names if names and all(map(is_label, names)) else None

    def _splits_of_files(self) -> FileSplits | None:
        return splits_of_files(absolute(self.path)) if self._is_local_parquet() else None

    def _is_local_parquet(self) -> bool:
        return self._is_path() and (self.format or "parquet").lower() == "parquet" and not is_url(absolute(self.path))

    def _missing(self, what: str, name: str, frame: DataFrame) -> str:
        columns = ", ".join(map(repr, frame.columns))
        near = did_you_mean(name, frame.columns)
        if len(frame.columns) == 1 and re.search(r"[;\t|]", frame.columns[0]):
            near = "; for CSV with other separators than commas, use source.kind manifest"
        return f"{self._what} has {what}; its columns are {columns}: set source.columns{near}"

    def _survey_rows(self, frame: DataFrame, there: Columns) -> DataFrame:
        """Return the columns that ``survey`` needs, without reading any image."""
        path = F.lit(None).cast("string") if there.path is None else self._name(there.path)
        further = {"number": there.number, "weight": there.weight, "given_weight": there.given_weight}
        return frame.select(
            path.alias("path"),
            self._label(there).alias("class_name"),
            self._split(there).alias("split"),
            *(values.alias(name) for name, values in further.items() if values is not None),
        )

    def _label(self, there: Columns) -> Column:
        if there.label is not None:
            return there.label
        assert there.path is not None  # ``_find`` rejects tables with neither
        folders = F.split(self._name(there.path), "/")
        return F.when(F.size(folders) > 1, F.element_at(folders, -2))

    def _split(self, there: Columns) -> Column:
        return F.lit(None).cast("string") if there.split is None else there.split

    def _name(self, path: Column) -> Column:
        """Return the path without ``file:``, relative to ``source.path``: ``paths.local_path`` as a Spark column."""
        encoded = path.startswith("file://") & ~path.rlike("%(?![0-9A-Fa-f]{2})")
        uri = F.regexp_replace(path, "^file://(localhost)?", "")
        decoded = F.url_decode(F.regexp_replace(uri, r"\+", "%2B"))
        local = F.when(encoded, decoded).otherwise(F.regexp_replace(path, "^file:(//)?(?=/)", ""))
        root = "//"
        if self._is_path():  # Spark lists dbfs:/ with its scheme, also where it is mounted
            root = os.path.join(self.path if scheme_of(self.path) == "dbfs" else absolute(self.path), "")
        return F.when(local.startswith(root), F.substring(local, len(root) + 1, 2**31 - 1)).otherwise(local)

    def _is_side(self, path: Column) -> Column:
        """Return whether a file is a side file, or in a side folder below ``source.path`` or what a pattern matches."""
        name = self._name(path)
        base = os.path.join(re.split(r"[*?\[{]", absolute(self.path))[0].rpartition("/")[0], "")
        below = F.when(name.startswith(base), F.substring(name, len(base) + 1, 2**31 - 1))
        # Spark may write the folder in another way: then only the file itself is judged.
        inside = F.when(name.rlike("^([A-Za-z][A-Za-z0-9+.-]+:)?/"), F.element_at(F.split(name, "/"), -1))
        return F.coalesce(below, inside, name).rlike(SIDE_PATH)

    def _has_homonyms(self, frame: DataFrame, there: Columns) -> bool:
        """Return whether two rows have the same path (files of a folder cannot), without reading any image."""
        if there.path is None or (self.format or "").lower() in _FILE_LAYOUTS:
            return False
        names = self._survey_rows(frame, there).where("path IS NOT NULL").groupBy("path").count()
        return names.where("count > 1").first() is not None

    def _resolved(self, path: Column) -> Column:
        """Return paths in which relative ones are resolved against the folder of the table."""
        if not self._is_path():
            return path
        folder = os.path.join(os.path.dirname(absolute(self.path).rstrip("/")), "")
        return F.when(path.rlike("^(/|[A-Za-z][A-Za-z0-9+.-]+:/)"), path).otherwise(F.concat(F.lit(folder), path))


def _side_kind(path: str) -> str:
    *folders, file = path.split("/")
    if not is_side_file(file):
        return kind_of(next((name for name in reversed(folders) if is_side_folder(name)), file), folder=True)
    return kind_of(file)


def encode_structs(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Convert column ``content`` from Spark's image structs to bytes. Runs on a worker."""
    for batch in batches:
        parts = dict(
            zip((f.name for f in batch.schema.field("content").type), batch.column("content").flatten(), strict=True)
        )
        contents: list[bytes] = []
        first = size = 0
        for i in range(batch.num_rows):
            contents.append(encoded_struct({name: part[i] for name, part in parts.items()}))
            size += len(contents[-1])
            if size > _OUTPUT_BYTES or i + 1 == batch.num_rows:
                rows = batch.slice(first, len(contents))
                columns = {name: rows.column(name) for name in rows.schema.names}
                yield pa.RecordBatch.from_pydict({**columns, "content": pa.array(contents, pa.binary())})
                contents, first, size = [], i + 1, 0


def encoded_struct(image: dict[str, pa.Scalar]) -> bytes:
    """Return pixels as a ``.npy`` file, RGB; with alpha as PNG, so that it is blended as that of a file."""
    height, width, mode = (image[name].as_py() for name in ("height", "width", "mode"))
    channels = _CHANNELS_OF_MODE.get(mode, 0)
    data = image["data"].as_buffer() if image["data"].is_valid else b""
    if not channels or not height or not width or len(data) != height * width * channels:
        # Images that Java could not decode (WebP, CMYK, or a broken file): return the file's bytes, or nothing.
        try:
            return read_file(image["origin"].as_py() or "")
        except OSError:
            return b""
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, channels)
    file = io.BytesIO()
    if channels == 4:
        Image.fromarray(np.ascontiguousarray(pixels[:, :, [2, 1, 0, 3]])).save(file, "PNG", compress_level=1)
    else:
        np.save(file, np.ascontiguousarray(pixels[:, :, ::-1]) if channels == 3 else pixels, allow_pickle=False)
    return file.getvalue()
