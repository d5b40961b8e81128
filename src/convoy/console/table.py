"""Tables of text: drawn by Rich in a terminal, HTML in a notebook, aligned plain text elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from convoy.console.notebook import html_table

if TYPE_CHECKING:
    from rich import table as rich_table


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of text in columns.

    ``str(table)`` is plain text for pipes, logs and files: one line per row, whatever its length, so that it can be
    searched. In a terminal (``say(table)``), long texts are continued on further lines, but numbers and words are not;
    a table that needs more columns is printed as plain text.

    Attributes:
        rows: Cells of each row.
        header: Name of each column; None for no header.
        align: ``<`` (left) or ``>`` (right) for each column; missing ones are left-aligned.
        widths: Minimum width of each column, for tables that are printed row by row; missing ones are 0.
    """

    rows: Sequence[Sequence[str]]
    header: Sequence[str] | None = None
    align: str = ""
    widths: Sequence[int] = ()

    def __str__(self) -> str:
        """Return plain text, without a line break at the end."""
        # Not by Rich: it takes a second for a thousand rows of 15 cells.
        from rich.cells import cell_len

        lines = [list(line) for line in ([self.header] if self.header else []) + list(self.rows)]
        sizes = [[cell_len(cell) for cell in line] for line in lines]
        widths = [max(column) for column in zip(self._minimum(len(lines[0])), *sizes, strict=True)] if lines else []
        if self.header:
            lines.insert(1, ["-" * width for width in widths])
            sizes.insert(1, widths)
        return "\n".join(
            "  ".join(map(_padded, line, size, widths, self._aligned(len(line)))).rstrip()
            for line, size in zip(lines, sizes, strict=True)
        )

    __repr__ = __str__

    def __rich__(self) -> "rich_table.Table":
        """Return Rich's table."""
        from rich import box, table
        from rich.text import Text

        drawn = table.Table(
            box=box.SIMPLE_HEAD if self.header else None,
            show_header=self.header is not None,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1 if self.header else 2, 0, 0),  # with the box's divider, two blanks
        )
        count = len(self.header or next(iter(self.rows), ()))
        names = self.header or [""] * count
        for name, sign, width in zip(names, self._aligned(count), self._minimum(count), strict=True):
            number = sign == ">"
            drawn.add_column(Text(name), justify="right" if number else "left", min_width=width or None, no_wrap=number)
        for row in self.rows:
            drawn.add_row(*map(Text, row))
        return drawn

    def _repr_html_(self) -> str:
        return html_table(self.rows, self.header, self.align)

    def _aligned(self, count: int) -> str:
        return self.align.ljust(count, "<")

    def _minimum(self, count: int) -> list[int]:
        return [*self.widths, *[0] * (count - len(self.widths))]


def as_html(parts: Sequence[str | Table]) -> str:
    """Return lines and tables as HTML, for a notebook."""
    shown = []
    for kind, some in groupby(parts, key=type):
        if kind is Table:
            shown += [table._repr_html_() for table in some if isinstance(table, Table)]
        elif text := "\n".join(map(str, some)).strip("\n"):
            shown.append(f"<pre style='font-family:monospace'>{escape(text)}</pre>")
    return "".join(shown)


def _padded(cell: str, size: int, width: int, sign: str) -> str:
    blanks = " " * (width - size)
    return blanks + cell if sign == ">" else cell + blanks
