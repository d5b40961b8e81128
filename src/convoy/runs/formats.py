"""Tables as text, Markdown, CSV or JSON. Pure."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from convoy import console

Format = Literal["text", "markdown", "csv", "json"]
Cell = str | float | int | None

_PLAIN = (1e-3, 1e5)  # range in which numbers are written without an exponent


@dataclass(frozen=True)
class Table:
    """Rows of values.

    Attributes:
        header: Name of each column.
        rows: Values; None for a missing one.
    """

    header: list[str]
    rows: list[list[Cell]]

    def shown(self) -> console.Table:
        """Return the table for the console: numbers to four digits, in right-aligned columns."""
        align = "".join(">" if _is_numeric(column) else "<" for column in zip(*self.rows, strict=True))
        return console.Table([[shown(cell) for cell in row] for row in self.rows], self.header, align)

    def markdown(self) -> str:
        """Format as a Markdown table."""
        lines = [self.header, ["---"] * len(self.header), *([shown(cell) for cell in row] for row in self.rows)]
        return "".join("| " + " | ".join(_escaped(cell) for cell in line) + " |\n" for line in lines)

    def csv(self) -> str:
        """Format as CSV, with all digits."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows(["" if cell is None else cell for cell in row] for row in self.rows)
        return file.getvalue()

    def records(self) -> list[dict[str, Any]]:
        """Return a mapping for each row, for JSON."""
        return [dict(zip(self.header, map(finite, row), strict=True)) for row in self.rows]


def formatted(table: Table, format: Format, name: str) -> str:
    """Return the table in a format for stdout.

    Args:
        table: The table.
        format: Any format except text.
        name: Name of the rows, for JSON.
    """
    if format == "json":
        return json.dumps({name: table.records()}) + "\n"
    return table.csv() if format == "csv" else table.markdown()


def shown(cell: Cell) -> str:
    """Format a value for people."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return " ".join(cell.split())
    if isinstance(cell, int):
        return f"{cell:,}"
    if cell == 0 or _PLAIN[0] <= abs(cell) < _PLAIN[1]:
        return f"{cell:,.4f}" if abs(cell) < 1000 else f"{cell:,.1f}"
    return f"{cell:.4g}"


def _is_numeric(cells: Sequence[Cell]) -> bool:
    present = [cell for cell in cells if cell is not None]
    return bool(present) and not any(isinstance(cell, str) for cell in present)


def finite(value: Any) -> Any:
    """Replace a number that JSON cannot represent by null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
