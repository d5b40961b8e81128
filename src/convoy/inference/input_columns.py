"""The column of a DataFrame that holds the images, and whether the model accepts it."""

import math

from pyspark.sql import DataFrame
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    ByteType,
    DataType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    StructType,
)

from convoy.cluster.session_facts import setting
from convoy.errors import ConfigError, ModelError, did_you_mean
from convoy.inference.prediction_columns import Outputs
from convoy.inference.samples import Kind
from convoy.models.package import ModelPackage

_USUAL_NAMES = ("content", "image", "path")
_IMAGE_STRUCT = {"origin", "height", "width", "mode", "data"}
_NUMBER_BYTES: dict[type[DataType], int] = {
    ByteType: 1,
    ShortType: 2,
    IntegerType: 4,
    LongType: 8,
    FloatType: 4,
    DoubleType: 8,
}
_MOST_BATCH_BYTES = 256 << 20
_RECORDS = "spark.sql.execution.arrow.maxRecordsPerBatch"
_EXPECTED = (
    "expected image files (binary, or a struct with binary bytes), their paths or base64 (string), Spark's image"
    " struct, or arrays of numbers"
)


def image_column(rows: DataFrame, given: str | None) -> tuple[str, Kind]:
    """Return the name of the column with the images, and the kind of its values.

    Args:
        rows: Any DataFrame.
        given: Its name; None is the first of ``content``, ``image`` and ``path`` that exists.

    Raises:
        ConfigError: There is no such column, or it cannot hold images; the message names the existing columns.
    """
    types = {field.name: field.dataType for field in rows.schema}
    there = ", ".join(f"{name} ({kind.simpleString()[:40]})" for name, kind in types.items())
    name = given if given is not None else next((name for name in _USUAL_NAMES if name in types), None)
    if name is None:
        raise ConfigError(f"none of the columns is {', '.join(_USUAL_NAMES)}; name one as image_column: {there}")
    if name not in types:
        raise ConfigError(
            f"there is no column {name!r} with images{did_you_mean(name, types) or ';'} the columns are {there}"
        )
    kind = _kind(types[name])
    if kind is None:
        raise ConfigError(f"column {name!r} is {types[name].simpleString()[:80]}; {_EXPECTED}; the columns are {there}")
    return name, kind


def _kind(found: DataType) -> Kind | None:
    if isinstance(found, BinaryType):
        return "bytes"
    if isinstance(found, StringType):
        return "path"
    if isinstance(found, StructType) and set(found.names) >= _IMAGE_STRUCT:
        return "struct"
    if isinstance(found, StructType) and "bytes" in found.names and isinstance(found["bytes"].dataType, BinaryType):
        return "file"
    return "array" if isinstance(found, ArrayType) and type(_elements(found)[1]) in _NUMBER_BYTES else None


def _elements(found: DataType) -> tuple[int, DataType]:
    """Return (depth, type of the elements) of nested arrays."""
    depth = 0
    while isinstance(found, ArrayType):
        depth, found = depth + 1, found.elementType
    return depth, found


def check_fits(rows: DataFrame, name: str, kind: Kind, package: ModelPackage) -> None:
    """Raise an error if the model cannot take the values of a column, as far as its type shows.

    Raises:
        ModelError: The model cannot take them.
        ConfigError: Spark would send too many large arrays at once.
    """
    spec = package.spec
    if kind in ("path", "struct") and package.geometry is None:
        what = "paths of images" if kind == "path" else "images"
        raise ModelError(
            f"{package.uri} takes arrays, {spec}, but column {name!r} holds {what}; give arrays of numbers"
        )
    if kind != "array":
        return
    found = rows.schema[name].dataType
    depth, element = _elements(found)
    depths = {1, len(spec.shape), *([len(spec.shape) - 1] if spec.shape[-1] == 1 and len(spec.shape) > 1 else [])}
    if depth not in depths:
        raise ModelError(
            f"{package.uri} takes samples of {spec}, but column {name!r} is {found.simpleString()}; expected flat"
            f" arrays of {math.prod(spec.shape)} numbers, or arrays nested {len(spec.shape)} deep"
        )
    size = math.prod(spec.shape) * _NUMBER_BYTES[type(element)]
    records = int(setting(rows.sparkSession, _RECORDS, "10000")) or 10_000
    if size * records > _MOST_BATCH_BYTES:
        raise ConfigError(
            f"{_RECORDS} is {records:,}, but that many arrays of {size:,} bytes do not fit into a worker; set it to"
            f" {max(1, _MOST_BATCH_BYTES // 4 // size):,} or less"
        )


def check_names(rows: DataFrame, kept: tuple[str, ...], outputs: Outputs) -> None:
    """Raise ``ConfigError`` for columns to keep that are missing, or that have the name of an added column."""
    added = {field.name for field in outputs.fields}
    missing = [name for name in kept if name not in rows.columns]
    if missing:
        hint = did_you_mean(missing[0], rows.columns) or ";"
        raise ConfigError(f"there is no column {missing[0]!r} to keep{hint} the columns are {', '.join(rows.columns)}")
    if quoted := [name for name in kept if "`" in name]:
        raise ConfigError(
            f"the name of column {quoted[0]!r} has a backtick, which Spark cannot pass to Python; rename or drop it"
        )
    lower = [name.lower() for name in kept]
    twice = sorted({name for name in kept if lower.count(name.lower()) > 1})
    if twice:
        raise ConfigError(f"there are several columns {', '.join(map(repr, twice))}; rename them, or drop some")
    taken = [name for name in kept if name.lower() in added]
    if taken:
        raise ConfigError(
            f"the input has columns that scoring adds: {', '.join(map(repr, taken))}; rename or drop them first"
        )
