"""The result of all sinks."""

from dataclasses import dataclass

from pyspark.sql import DataFrame


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
