"""Tables as text, Markdown, CSV or JSON. Pure."""

import csv
import io
import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from convoy import console

Format = Literal["text", "markdown", "csv", "json"]
Cell = str | float | int | None

_PLAIN = (1e-3, 1e5)  # from and to which numbers are written without an exponent


@dataclass(frozen=True)
class Table:
    """Rows of values.

    Attributes:
        header: Name of each column.
        rows: Values; None where there is none.
    """

    header: list[str]
    rows: list[list[Cell]]

    def text(self) -> str:
        """For a terminal: numbers to four digits, run ids and checksums shortened."""
        return console.table([[shown(cell) for cell in row] for row in self.rows], self.header)

    def markdown(self) -> str:
        """As a Markdown table."""
        lines = [self.header, ["---"] * len(self.header), *([shown(cell) for cell in row] for row in self.rows)]
        return "".join("| " + " | ".join(_escaped(cell) for cell in line) + " |\n" for line in lines)

    def csv(self) -> str:
        """As CSV, with all digits."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows(["" if cell is None else cell for cell in row] for row in self.rows)
        return file.getvalue()

    def records(self) -> list[dict[str, Any]]:
        """A mapping for each row, as JSON takes it."""
        return [dict(zip(self.header, map(finite, row), strict=True)) for row in self.rows]


def formatted(table: Table, format: Format, name: str) -> str:
    """The table in a format that is printed as it is.

    Args:
        table: The table.
        format: Any but text.
        name: Of the rows, for JSON.
    """
    if format == "json":
        return json.dumps({name: table.records()}) + "\n"
    return table.csv() if format == "csv" else table.markdown()


def shown(cell: Cell) -> str:
    """A value as people read it."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return " ".join(cell.split())
    if isinstance(cell, int):
        return f"{cell:,}"
    if cell == 0 or _PLAIN[0] <= abs(cell) < _PLAIN[1]:
        return f"{cell:,.4f}" if abs(cell) < 1000 else f"{cell:,.1f}"
    return f"{cell:.4g}"


def finite(value: Any) -> Any:
    """Replace a number that JSON does not have by null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
