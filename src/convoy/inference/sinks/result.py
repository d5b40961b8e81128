"""The result of all sinks, and when there is none."""

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame

from convoy.errors import SourceError

OURS = frozenset({"prediction", "prediction_index", "probability", "error", "model_version"})
"""Columns of every result."""


@dataclass(frozen=True)
class SinkResult:
    """Rows that a run has added to a folder or table.

    Attributes:
        output: Absolute path of the folder, or ``table:<name>``.
        rows: Rows scored.
        errors: Of these, rows with an error.
        added: These rows as they were written; read them before the session ends.
        files: Names of their files in the folder; empty for a table.
    """

    output: str
    rows: int
    errors: int
    added: DataFrame
    files: frozenset[str] = frozenset()


def check_errors(
    rows: int, errors: int, earlier: tuple[int, int], max_error_fraction: float, commonest: Callable[[], str]
) -> None:
    """Raise ``SourceError`` if some new rows have an error, and too many of all rows, including earlier ones, do."""
    all_rows, all_errors = rows + earlier[0], errors + earlier[1]
    if errors and all_errors > max_error_fraction * all_rows:
        raise SourceError(
            f"{all_errors:,} of {all_rows:,} rows cannot be scored, more than scoring.max_error_fraction"
            f" {max_error_fraction:g}, so nothing was published; most often: {commonest()}"
        )
