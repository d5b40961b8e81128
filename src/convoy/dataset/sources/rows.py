"""Rows of a DataFrame as samples: labels, splits, and a survey of all rows. Shared by manifests and tables."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import chain
from types import MappingProxyType

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    MapType,
    NumericType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from convoy.cluster.spark_errors import SPARK_ERRORS
from convoy.config import ColumnsConfig
from convoy.dataset.ingest.splits import SPLIT_ALIASES
from convoy.dataset.sources.labels import check_labels
from convoy.dataset.sources.listing import LABEL_EXPECTED, MAX_CLASSES, is_label, sorted_classes
from convoy.errors import SourceError, did_you_mean

CSV_OPTIONS = {"header": "true", "quote": '"', "escape": '"', "multiLine": "true", "encoding": "UTF-8"}
"""RFC 4180: quotes are doubled within quotes, a backslash is a backslash, and a quoted field may hold newlines."""

_OF_SPLITS = re.compile(
    "(data_?|eval_?|train_?test_?)?(set|split|partition)s?|subset|phase|usage|split_?(name|type)|is_?(train|test|val).*"
)
"""Names of columns that often have the splits."""
_NO_STORE = re.compile(r"S3AFileSystem not found|No FileSystem for scheme")
_JAR = (
    "Spark itself needs a jar for such URLs, for S3 that of hadoop-aws: see spark.jars.packages in spark.conf;"
    " source.kind folder and manifest read s3:// without it"
)
_FURTHER = 8  # fields after the last column that are checked
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"  # Java would also accept 1d, 0x1p3 and Infinity


def column(name: str) -> Column:
    """Return the top-level column of exactly that name, which may contain dots."""
    return F.col("`" + name.replace("`", "``") + "`")


def resolved(columns: ColumnsConfig, names: Sequence[str]) -> ColumnsConfig:
    """Return the names of columns as a table writes them: ``Label`` for ``label``, if there is no other such column."""
    found = {}
    for role in fields(columns):
        given = getattr(columns, role.name)
        alike = [name for name in names if name.strip().lower() == str(given).lower()]
        found[role.name] = alike[0] if given is not None and given not in names and len(alike) == 1 else given
    return ColumnsConfig(**found)


def column_notes(columns: ColumnsConfig, names: Sequence[str]) -> list[str]:
    """Return lines about columns: weights, which a column of another meaning may be, and splits that are not used."""
    found, lines = resolved(columns, names), []
    if found.weight in names:
        lines.append(
            f"ingest: sample weights from the column {found.weight!r}; --source.columns.weight null ignores it"
        )
    like = (name for name in names if _OF_SPLITS.fullmatch(re.sub("[ .-]", "_", name.lower())))
    unused = [name for name in like if name != found.label]
    if found.split not in names and unused:
        lines.append(
            f"warning: the column {unused[0]!r} is not used; if it has splits (train, val, test), give"
            f" --source.columns.split {shlex.quote(unused[0])}"
        )
    return lines


def glob_escaped(path: str) -> str:
    """Return a path with which Spark does no pattern matching."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", path)


def text(values: Column, kind: DataType, name: str) -> Column:
    """Return values as strings, null if they are blank; whole numbers as ``"7"``, whatever their type.

    Raises:
        SourceError: Arrays, maps and structs cannot be labels.
    """
    if isinstance(kind, ArrayType | MapType | StructType):
        several = "; models with several labels for an image are not supported: use a column with one label for each"
        raise SourceError(
            f"column {name!r} is of type {kind.simpleString()[:60]}; expected strings or numbers"
            + (several if isinstance(kind, ArrayType) else "")
        )
    if isinstance(kind, TimestampType | TimestampNTZType):
        raise SourceError(
            f"column {name!r} is of type {kind.simpleString()}; expected strings or numbers, for classes with several"
            " images"
        )
    as_string = values.cast("string")
    if isinstance(kind, DecimalType):
        as_string = F.regexp_replace(as_string, r"\.0+$", "")
    if isinstance(kind, DoubleType | FloatType):
        number = values.cast("double")
        # Beyond 2**53, different whole numbers may be the same double, and Spark's whole numbers end.
        small = F.when(F.abs(number) < 2.0**53, number)
        whole = F.when(small == F.floor(small), F.floor(small).cast("string")).otherwise(as_string)
        as_string = F.when(~F.isnan(number), whole)
    return F.when(F.trim(as_string) != "", as_string)


def known_split(given: Column) -> Column:
    """Return ``train``, ``validation`` or ``test`` for any of their spellings, null for other values."""
    known = F.create_map(*(F.lit(part) for part in chain.from_iterable(SPLIT_ALIASES.items())))
    return known[F.lower(F.trim(given))]


def weight(values: Column, kind: DataType, name: str) -> Column:
    """Return weights as floats: 1 if they are null or blank, NaN if they are not numbers.

    Raises:
        SourceError: The column holds neither numbers nor text.
    """
    if not isinstance(kind, NumericType | StringType):
        raise SourceError(
            f"column {name!r} (source.columns.weight) is of type {kind.simpleString()[:60]}; expected numbers of 0 or"
            " more: name another column, or null for no weights"
        )
    as_string = F.trim(values.cast("string"))
    number = values.cast("float")
    if isinstance(kind, StringType):
        number = F.when(values.rlike(_NUMBER), number).otherwise(F.lit(float("nan")))
    return F.when(as_string.isNull() | (as_string == ""), F.lit(1.0)).otherwise(number).cast("float")


@contextmanager
def spark_errors(what: str, hint: str) -> Iterator[None]:
    """Turn Spark's errors on reading into one line: ``<what>: <Spark's reason>; <hint>``."""
    try:
        yield
    except SPARK_ERRORS as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        causes = [line for line in lines if line.startswith("Caused by: ")]
        first_lines = [line for line in lines if not line.startswith("An error occurred while calling")]
        reason = re.sub(r"^(Caused by: |: )?([\w$]+\.)*[\w$]+(Exception|Error): ", "", [*first_lines[:1], *causes][-1])
        if _NO_STORE.search(reason):
            hint = _JAR
        raise SourceError(f"{what} cannot be read: {reason.strip().rstrip('.')[:300]}; {hint}") from None


def survey(rows: DataFrame, what: str) -> list[Row]:
    """Inspect all rows once, on the workers, and return one row per (class, split).

    Args:
        rows: ``path`` (or null if samples have none), ``class_name`` and ``split`` as given, and ``number`` if the
            label is a number that has a name.
        what: The source, for messages.

    Raises:
        SourceError: There are no rows, or a row has no label, a label that cannot be the name of a class, an unknown
            split, or no path; the message names such a row.
    """
    by = [name for name in ("class_name", "split", "number") if name in rows.columns]
    groups = rows.groupBy(*by).agg(F.min("path").alias("example"), F.count("*").alias("rows"))
    found = groups.orderBy(*by).limit(MAX_CLASSES + 1).collect()
    if not found:
        raise SourceError(f"{what} has no rows; expected one per image")
    if len(found) > MAX_CLASSES:
        raise SourceError(
            f"{what} has over {MAX_CLASSES:,} different labels; is source.columns.label the right column?"
        )
    for group in found:
        row = f"{what}: row {group.example!r}" if group.example is not None else f"{what}: a row"
        if group.class_name is None and group.asDict().get("number") is not None:
            raise SourceError(f"{row} has the label {group.number!r}, which has no name; leave such rows out")
        if group.class_name is None:
            raise SourceError(f"{row} has no label; expected a class name or number in every row")
        if "\ufffd" in group.class_name:
            raise SourceError(f"{row} has the label {group.class_name!r}, which is not UTF-8; save the file as UTF-8")
        if not is_label(group.class_name):
            raise SourceError(f"{row} has the label {group.class_name!r}; {LABEL_EXPECTED}")
        if group.split is not None and group.split.strip().lower() not in SPLIT_ALIASES:
            near = did_you_mean(group.split.strip().lower(), SPLIT_ALIASES)
            raise SourceError(f"{row} has the split {group.split!r}; expected one of {', '.join(SPLIT_ALIASES)}{near}")
    return found


def check_fields(
    spark: SparkSession,
    path: str,
    names: list[str],
    first: str,
    what: str,
    options: Mapping[str, str] = MappingProxyType(CSV_OPTIONS),
) -> None:
    """Raise ``SourceError`` if a row of a CSV has more fields than its header, apart from blank ones at its end.

    Spark drops them silently. The usual cause is a comma in a name without quotes, so that each of the fields after it
    is in the wrong column.

    Args:
        spark: The session.
        path: The path for Spark.
        names: The columns.
        first: The column that identifies a row in messages.
        what: The source, for messages.
        options: Spark's options for CSV.
    """
    places = [f"_{number}" for number in range(len(names) + _FURTHER)]
    schema = StructType([StructField(name, StringType()) for name in places])
    # The header is a row like the others: as a header, Spark would warn that it does not have all of these fields.
    rows = spark.read.options(**{**options, "header": "false"}).schema(schema).csv(path)
    further = F.coalesce(*places[len(names) :])
    wrong = rows.where(further.isNotNull()).select(places[names.index(first)], further)
    if (row := wrong.first()) is not None:
        raise SourceError(
            f"{what}: row {row[0]!r} has more fields than the header has columns ({len(names)}), {row[1]!r} is left"
            " over; put fields that contain commas into double quotes"
        )


def check_paths(rows: DataFrame, what: str) -> None:
    """Raise ``SourceError`` if a row names no file."""
    if (row := rows.where(F.col("path").isNull()).select("class_name").first()) is not None:
        raise SourceError(f"{what}: a row of class {row.class_name!r} has no path; expected an image file in every row")


def check_weights(rows: DataFrame, what: str) -> None:
    """Raise ``SourceError`` if a weight is negative, infinite or not a number.

    Args:
        rows: ``path`` (or null), ``weight``, and ``given_weight`` as text.
        what: The source, for messages.
    """
    bad = F.isnan("weight") | (F.col("weight") < 0) | (F.col("weight") == float("inf"))
    row = rows.where(bad).select("path", "given_weight").orderBy("path", "given_weight").first()
    if row is not None:
        where = f"row {row.path!r}" if row.path is not None else "a row"
        raise SourceError(
            f"{what}: {where} has the weight {row.given_weight!r}; expected a number of 0 or more, or none for 1"
        )


def classes_of(rows: DataFrame, what: str) -> list[str]:
    """Return the class names of surveyed rows: in the order of the numbers that they name, else sorted.

    Raises:
        SourceError: A row is wrong (see ``survey``), or the labels are not classes (see ``check_labels``), or names and
            numbers do not belong together one to one.
    """
    found = survey(rows, what)
    if "number" in rows.columns and all(group.number is not None for group in found):
        return _named_classes({(group.number, group.class_name) for group in found}, what)
    counts = Counter[str]()
    for group in found:
        counts[group.class_name] += group.rows
    check_labels(counts, what)
    return sorted_classes(counts)


def _named_classes(pairs: set[tuple[str, str]], what: str) -> list[str]:
    """Return names in the order of their numbers."""
    names, numbers = dict(pairs), {name: number for number, name in pairs}
    if len(names) < len(pairs):
        number, name = next(pair for pair in sorted(pairs) if names[pair[0]] != pair[1])
        raise SourceError(
            f"{what}: the label {number!r} has the names {name!r} and {names[number]!r}; expected one: correct them, or"
            " give the column of names as source.columns.label"
        )
    if len(numbers) < len(pairs):
        number, name = next(pair for pair in sorted(pairs) if numbers[pair[1]] != pair[0])
        raise SourceError(
            f"{what}: the labels {number!r} and {numbers[name]!r} have the same name, {name!r}; expected different ones"
        )
    return [names[number] for number in sorted_classes(names)]


def label_columns(frame: DataFrame, label: str, names: list[str] | None) -> tuple[Column, Column | None]:
    """Return the class of each row, and the number that it is the name of, if the labels are numbers with names.

    Args:
        frame: The table.
        label: Its column with labels. Whole numbers are replaced with the column ``<label>_name``, if there is one.
        names: Names of the labels 0, 1, ... if they are known otherwise.
    """
    types = {part.name: part.dataType for part in frame.schema}
    kind, given = types[label], text(column(label), types[label], label)
    if names and isinstance(kind, IntegralType):
        return _names_of(names, column(label)), given
    beside = next((name for name in types if name.lower() == f"{label}_name".lower()), None)
    if beside is None or not isinstance(types[beside], StringType) or not isinstance(kind, NumericType | StringType):
        return given, None
    is_number = given.rlike(r"^-?[0-9]+(\.0+)?$")  # 7.0 is how pandas writes 7 if a row has none
    name = text(column(beside), types[beside], beside)
    return F.when(is_number, name).otherwise(given), F.when(is_number, F.regexp_replace(given, r"\.0+$", ""))


def _names_of(names: list[str], number: Column) -> Column:
    """Return the names of labels that are their indices, null for other numbers."""
    listed = F.split(F.lit("\n".join(names)), "\n")
    return F.when(number.between(0, len(names) - 1), F.element_at(listed, (number + 1).cast("int")))


def check_one_class(rows: DataFrame, what: str) -> None:
    """Raise ``SourceError`` if rows name the same file under several classes.

    Args:
        rows: ``path`` and ``class_name``.
        what: The source, for messages.
    """
    classes = rows.groupBy("path").agg(F.min("class_name").alias("one"), F.max("class_name").alias("two"))
    wrong = classes.where("one != two")
    if found := wrong.orderBy("path").limit(1).collect():
        [row] = found
        raise SourceError(
            f"{what}: {wrong.count():,} images have several labels, e.g. {row.path!r}: {row.one!r} and {row.two!r};"
            " expected one class for an image (several are not supported): remove the wrong rows"
        )


def splits_of(rows: DataFrame, what: str) -> set[str]:
    """Return the splits that surveyed rows name."""
    given = {group.split for group in survey(rows, what) if group.split is not None}
    return {SPLIT_ALIASES[split.strip().lower()] for split in given}
