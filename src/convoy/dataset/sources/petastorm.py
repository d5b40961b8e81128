"""A Petastorm dataset of any origin, with images or arrays, and labels, in fields of its Unischema."""

import functools
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from convoy.config import ColumnsConfig
from convoy.config.locations import absolute, is_url
from convoy.dataset.sources.arrays import LARGEST, NUMBERS
from convoy.dataset.sources.rows import glob_escaped, spark_errors
from convoy.dataset.sources.split_names import UNLABELLED, splits_among
from convoy.dataset.sources.table import TableSource
from convoy.errors import SourceError, did_you_mean
from convoy.images import ArraySpec, channels_last

_METADATA = ("_common_metadata", "_metadata")


@dataclass(frozen=True)
class PetastormSource(TableSource):
    """A Petastorm dataset; or a folder with one for each split, as Convoy writes them.

    Its Parquet files are read as a table, and its codecs' values are files that Convoy decodes: images as they are,
    arrays as ``.npy``. Petastorm is only used to read the Unischema, on the driver.

    Attributes:
        path: The folder, as a path or ``file:`` URL.
        columns: Names of the fields.
    """

    def check(self) -> None:
        """Raise ``SourceError`` if there is no Petastorm dataset, or a field is missing or of an unsupported kind."""
        first, *others = self._folders()
        expected = self._spec_in(first)
        for folder in others:
            if (spec := self._spec_in(folder)) != expected:
                raise SourceError(
                    f"{self._what}: samples in {first} are {expected or 'uint8 images'}, those in {folder}"
                    f" {spec or 'uint8 images'}; expected one shape and type in all splits"
                )

    def array_spec(self) -> ArraySpec | None:  # type: ignore[override]
        """Return shape and type of a sample; None for uint8 images with 1 or 3 channels."""
        return self._spec_in(next(iter(self._folders())))

    def describe(self) -> dict[str, Any]:
        """Return kind and absolute path."""
        return {"kind": "petastorm", "path": self._root}

    @property
    def _root(self) -> str:
        return absolute(self.path)

    @property
    def _what(self) -> str:
        return f"Petastorm dataset {self.path!r}"

    def _spark_errors(self) -> Any:
        return spark_errors(self._what, "are its files whole, and on every node?")

    def _is_path(self) -> bool:
        return True

    def _is_local_parquet(self) -> bool:
        return False  # the names of classes and splits are those of the Unischema's fields

    def _folders(self) -> dict[str, str | None]:
        """Return a mapping: folder of each Petastorm dataset -> its split, or None."""
        if is_url(self._root):
            raise SourceError(
                f"source.path {self.path!r} is a URL; a Petastorm dataset is a folder that every node sees, e.g. on a"
                " mounted store; its Parquet files at a URL are source.kind table, where images are encoded"
            )
        if not os.path.isdir(self._root):
            raise SourceError(f"source.path {self.path!r} is not a folder; expected one with a Petastorm dataset")
        if _is_petastorm(self._root):
            return {self._root: None}
        inner: dict[str, str | None] = {
            folder: split
            for name, split in splits_among(os.listdir(self._root)).items()
            if split != UNLABELLED and _is_petastorm(folder := os.path.join(self._root, name))
        }
        if not inner:
            raise SourceError(
                f"source.path {self.path!r} has no _common_metadata, so it is not a Petastorm dataset; expected the"
                " folder that materialize_dataset has written, or one with such a folder for each split (train,"
                " validation, test); Parquet files with encoded images are source.kind table"
            )
        return inner

    def _spec_in(self, folder: str) -> ArraySpec | None:
        """Check the fields of a dataset, and return the spec of its samples, as ``array_spec``."""
        fields = _fields(folder, os.stat(_metadata_of(folder)).st_mtime_ns)
        image = self._field(fields, "image")
        label = self._field(fields, "label")
        for role in ("path", "split", "weight"):
            name = getattr(self.columns, role)
            if name not in (None, *fields, getattr(ColumnsConfig, role)):
                raise SourceError(self._no_field(role, name, fields))
        dtype = label.numpy_dtype
        if label.shape or not (isinstance(dtype, type) and issubclass(dtype, (np.integer, np.str_))):
            raise SourceError(
                f"{self._what}: field {label.name!r} (source.columns.label) is {_described(label)}; expected a scalar"
                " of integers or strings"
            )
        return self._spec_of(image)

    def _field(self, fields: dict[str, Any], role: str) -> Any:
        name = getattr(self.columns, role)
        if name not in fields and role == "image" and name == ColumnsConfig.image:
            name = "image"
        if name not in fields:
            raise SourceError(self._no_field(role, name, fields))
        return fields[name]

    def _no_field(self, role: str, name: str, fields: dict[str, Any]) -> str:
        known = ", ".join(map(repr, fields))
        return (
            f"{self._what} has no field {name!r} (source.columns.{role}); its fields are"
            f" {known}{did_you_mean(name, fields)}"
        )

    def _spec_of(self, field: Any) -> ArraySpec | None:
        codec, shape = type(field.codec).__name__, tuple(field.shape)
        wrong = f"{self._what}: field {field.name!r} (source.columns.image) is {_described(field)}; expected"
        if codec == "CompressedImageCodec":
            return None
        if codec != "NdarrayCodec" or not shape:
            raise SourceError(f"{wrong} images or arrays, of CompressedImageCodec or NdarrayCodec")
        if (last := channels_last(shape)) is not None:
            raise SourceError(f"{wrong} channels last: write the dataset again with {field.name}.{last}")
        dtype = np.dtype(field.numpy_dtype)
        if dtype == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, None))):
            return None
        if dtype.name not in NUMBERS:
            raise SourceError(f"{wrong} booleans, integers or floats of up to 64 bits")
        if None in shape or 0 in shape:
            raise SourceError(f"{wrong} one shape for all arrays that are not uint8 images of 1 or 3 channels")
        spec = ArraySpec((*shape, 1) if len(shape) == 1 else shape, dtype.name)
        if spec.nbytes > LARGEST:
            raise SourceError(f"{wrong} at most 1 GiB a sample: cut the samples into smaller ones")
        return spec

    def _load(self, spark: SparkSession) -> tuple[DataFrame, Any]:
        frames = []
        for folder, split in self._folders().items():
            frame = self._frame(spark, folder)
            if split and self.columns.split not in frame.columns:
                frame = frame.withColumn(self.columns.split, F.lit(split))
            frames.append(frame)
        frame = functools.reduce(lambda one, other: one.unionByName(other), frames)
        there = self._find(frame)
        if there.content is None:
            raise SourceError(f"{self._what}: its schema has images, but its files have none; is it complete?")
        return frame, there

    def _frame(self, spark: SparkSession, folder: str) -> DataFrame:
        """Return the files as a table; text of ``name=value`` folders stays text, even if it looks like numbers."""
        fields = _fields(folder, os.stat(_metadata_of(folder)).st_mtime_ns)
        files = glob_escaped(f"file://{folder}")
        frame = spark.read.parquet(files)
        texts = {name for name, field in fields.items() if field.numpy_dtype is np.str_ and not field.shape}
        wrong = {part.name for part in frame.schema if part.name in texts and not isinstance(part.dataType, StringType)}
        if not wrong:
            return frame
        columns = [StructField(part.name, StringType()) if part.name in wrong else part for part in frame.schema]
        return spark.read.schema(StructType(columns)).parquet(files)


def _metadata_of(folder: str) -> str:
    return next((path for name in _METADATA if os.path.isfile(path := os.path.join(folder, name))), "")


def _is_petastorm(folder: str) -> bool:
    return bool(_metadata_of(folder))


@functools.lru_cache(maxsize=16)  # the schema is needed many times
def _fields(folder: str, changed: int) -> dict[str, Any]:
    """Return the fields of a dataset's Unischema by name; ``changed`` is the time of its metadata's last change."""
    from convoy.dataset.petastorm.schema import read_unischema

    try:
        return dict(read_unischema(_metadata_of(folder)).fields)
    except Exception as error:  # unpickling damaged data can raise any exception
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise SourceError(
            f"{folder} cannot be read as a Petastorm dataset ({type(error).__name__}: {reason}); expected a folder that"
            " materialize_dataset has written; Parquet files with encoded images are source.kind table"
        ) from None


def _described(field: Any) -> str:
    codec = "no codec" if field.codec is None else type(field.codec).__name__
    name = getattr(field.numpy_dtype, "__name__", str(field.numpy_dtype))
    return f"{name} of shape {tuple(field.shape)}, with {codec}"
