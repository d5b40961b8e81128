"""Columns of a DataFrame as the rows that ingest takes: image, class name, split and weight."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, BooleanType, DataType, NumericType, StringType, StructField, StructType

from convoy.errors import ConfigError, did_you_mean
from convoy.ml.params import ClassifierParams, column_of

_IMAGE_STRUCT = {"origin", "height", "width", "nChannels", "mode", "data"}
_UNSUITABLE = ("array", "map", "struct", "binary", "timestamp", "date")


@dataclass(frozen=True)
class TrainingRows:
    """What an estimator takes from a DataFrame.

    Attributes:
        frame: Its rows, with the columns ``content`` or ``path``, ``label``, and, if given, ``split`` and ``weight``.
        names: Names of the labels 0, 1, ... if the label column is one of ``StringIndexer``, else None.
        numeric: Whether the labels are numbers.
    """

    frame: DataFrame
    names: list[str] | None
    numeric: bool


def training_rows(rows: DataFrame, params: ClassifierParams) -> TrainingRows:
    """Return the rows for ingest, after a check of the columns; no Spark job runs.

    Raises:
        ConfigError: A column is missing, is named for two roles, or has a type that does not fit its role.
    """
    image = field_of(rows, "imageCol", column_of(params, "imageCol"))
    label = field_of(rows, "labelCol", column_of(params, "labelCol"))
    names = label_names(label)
    numeric = isinstance(label.dataType, NumericType)
    columns = [column(image.name).alias(_role_of_image(image)), _label(label, names).alias("label")]
    if name := column_of(params, "validationCol"):
        validation = field_of(rows, "validationCol", name)
        _expect(validation, "validationCol", BooleanType, "a boolean, true for validation, e.g. col.cast('boolean')")
        columns.append(F.when(column(validation.name), F.lit("validation")).otherwise(F.lit("train")).alias("split"))
    if name := column_of(params, "weightCol"):
        weight = field_of(rows, "weightCol", name)
        _expect(weight, "weightCol", NumericType, "numbers of 0 or more")
        columns.append(column(weight.name).alias("weight"))
    return TrainingRows(rows.select(*columns), names, numeric)


def column(name: str) -> Column:
    """Return the top-level column of exactly that name, which may contain dots."""
    return F.col("`" + name.replace("`", "``") + "`")


def label_names(field: StructField) -> list[str] | None:
    """Return the names of the indices in a column that ``StringIndexer`` made; None for other columns."""
    attributes: Any = (field.metadata or {}).get("ml_attr") or {}
    names = attributes.get("vals")
    return list(names) if names and isinstance(field.dataType, NumericType) else None


def indexed_labels(names: Sequence[str] | None, numeric: bool, classes: Sequence[str]) -> list[str] | None:
    """Return the class names by index, if the labels are indices as Spark's classifiers take them; else None.

    Args:
        names: Names of the labels 0, 1, ..., if known.
        numeric: Whether the labels are numbers.
        classes: Labels that occur, as strings.
    """
    if names is not None:
        return list(names)
    if not numeric or not all(label.isascii() and label.isdigit() and str(int(label)) == label for label in classes):
        return None
    count = max(map(int, classes)) + 1
    return [str(index) for index in range(count)] if count <= max(100, 2 * len(classes)) else None


def check_new(rows: DataFrame, params: Sequence[tuple[str, str | None]]) -> None:
    """Raise ``ConfigError`` if a column to add exists already, or has the name of another one.

    Args:
        rows: The DataFrame.
        params: (param, its value: the name of a column to add, or None).
    """
    taken = {name.lower(): "which the DataFrame has already" for name in rows.columns}
    for param, name in params:
        if name is None:
            continue
        if why := taken.get(name.lower()):
            raise ConfigError(f"{param} is {name!r}, {why}; give another name, or drop that column")
        taken[name.lower()] = f"which {param} names too"


def field_of(rows: DataFrame, role: str, name: str | None) -> StructField:
    """Return the column that a param names.

    Args:
        rows: The DataFrame.
        role: The param.
        name: Its value.

    Raises:
        ConfigError: There is no such column, or several.
    """
    if name is None:
        raise ConfigError(f"{role} is empty; expected the name of a column: {', '.join(rows.columns)}")
    if name not in rows.columns:
        near = did_you_mean(name, rows.columns)
        raise ConfigError(f"{role} is {name!r}; the DataFrame has the columns {', '.join(rows.columns)}{near}")
    if rows.columns.count(name) > 1:
        raise ConfigError(f"{role} is {name!r}, and the DataFrame has several columns of that name; rename them")
    return rows.schema[name]


def _role_of_image(field: StructField) -> str:
    kind = field.dataType
    if isinstance(kind, StringType):
        return "path"
    fields: set[str] = set(kind.names) if isinstance(kind, StructType) else set()
    if isinstance(kind, BinaryType) or fields >= _IMAGE_STRUCT or "bytes" in fields:
        return "content"
    raise _wrong(field, "imageCol", "encoded files (binary), their paths (string), or Spark's image struct")


def _label(field: StructField, names: list[str] | None) -> Column:
    if field.dataType.typeName().startswith(_UNSUITABLE):
        raise _wrong(field, "labelCol", "one class in each row, a string or a number")
    if names is None:
        return column(field.name)
    index = column(field.name)
    known = index.between(0, len(names) - 1) & (index == F.floor(index))
    return F.when(known, F.element_at(F.array(*map(F.lit, names)), (index + 1).cast("int")))


def _expect(field: StructField, role: str, kind: type[DataType], what: str) -> None:
    if not isinstance(field.dataType, kind):
        raise _wrong(field, role, what)


def _wrong(field: StructField, role: str, expected: str) -> ConfigError:
    found = field.dataType.simpleString()[:60]
    return ConfigError(f"{role} {field.name!r} is of type {found}; expected {expected}")
