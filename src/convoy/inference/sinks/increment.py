"""Comparison with an existing result: columns that have to match, and rows that one model version has scored."""

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from convoy.errors import ConfigError
from convoy.inference.arrow_chunks import quoted

_KEY = "convoy_scored_key"


def check_columns(scored: StructType, earlier: StructType, given: str) -> None:
    """Raise ``ConfigError`` unless new rows have the columns of earlier ones, in any order.

    Args:
        scored: The columns of the new rows.
        earlier: Those of the earlier ones.
        given: ``scoring.output``.
    """
    new, old = ({field.name: field.dataType.simpleString() for field in rows} for rows in (scored, earlier))
    differences = [f"{name!r} would be new" for name in new if name not in old]
    differences += [f"{name!r} would be missing" for name in old if name not in new]
    differences += [
        f"{name!r} is {old[name][:60]} there and {new[name][:60]} here"
        for name in new
        if old.get(name, new[name]) != new[name]
    ]
    if differences:
        raise ConfigError(
            f"scoring.output {given!r} has other columns: {', '.join(differences)}; give the same input and options"
            " (scoring.columns, top_k, probabilities, embeddings), another scoring.output, or scoring.mode overwrite"
        )


def check_key(columns: Sequence[str], key: str, whose: str) -> None:
    """Raise ``ConfigError`` if the column that identifies rows is missing."""
    if key not in columns:
        raise ConfigError(
            f"scoring.mode incremental identifies rows by the column {key!r} (scoring.key), which {whose} does not"
            f" have; name one of {', '.join(columns)} as scoring.key, keep it in scoring.columns, or use scoring.mode"
            " append"
        )


def without(rows: DataFrame, earlier: DataFrame, key: str, version: str) -> DataFrame:
    """Leave out the rows whose key a model version has scored, with or without an error.

    Null is a key like any other: otherwise such rows would be scored in every run.

    Args:
        rows: Rows of the input.
        earlier: Rows of the result.
        key: The column's name, in both.
        version: The model's URI, as in ``model_version``.

    Raises:
        ConfigError: There is no such column.
    """
    check_key(rows.columns, key, "the input")
    check_key(earlier.columns, key, "the earlier result")
    done = earlier.where(F.col("model_version") == version).select(quoted(key).alias(_KEY))
    return rows.join(done, quoted(key).eqNullSafe(F.col(_KEY)), "left_anti")


def counted(scored: DataFrame) -> tuple[int, int]:
    """Return (rows, rows with an error)."""
    [found] = scored.agg(F.count("*").alias("rows"), F.count("error").alias("errors")).collect()
    return found["rows"], found["errors"]
