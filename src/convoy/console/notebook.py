"""Output in a notebook: HTML tables, and a progress bar by Rich that is redrawn in place."""

import sys
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress

MOST_ROWS = 50
"""Most rows of a table in a notebook."""


def shell() -> Any:
    """Return IPython's shell if this process is the kernel of a notebook, else None."""
    ipython = sys.modules.get("IPython")
    found = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return found if hasattr(found, "kernel") else None


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    return shell() is not None


def show(value: Any) -> None:
    """Show an object below the cell, as if the cell ended with it."""
    from IPython.display import display

    display(value)


def show_page(html: str, height: int = 700) -> None:
    """Show a whole HTML page below the cell, with its own styles, in a frame.

    Args:
        html: The page.
        height: Height of the frame in pixels; Databricks chooses its own.
    """
    running = shell()
    if display_html := running and running.user_ns.get("displayHTML"):  # Databricks
        display_html(html)
        return
    from IPython.display import HTML

    style = f"width:100%;height:{height}px;border:1px solid #d0d7de"
    show(HTML(f'<div><iframe srcdoc="{escape(html)}" style="{style}"></iframe></div>'))


def html_table(rows: "Sequence[Sequence[str]]", header: "Sequence[str] | None" = None, align: str = "") -> str:
    """Return a table as HTML, of at most 50 rows.

    Args:
        rows: Cells of each row, as text.
        header: Name of each column; None for no header.
        align: ``<`` (left) or ``>`` (right) for each column; missing ones are left-aligned.
    """

    def line(tag: str, cells: "Sequence[str]") -> str:
        sides = ("right" if sign == ">" else "left" for sign in align.ljust(len(cells), "<"))
        shown = zip(cells, sides, strict=False)
        return "".join(f"<{tag} style='text-align:{side}'>{escape(cell)}</{tag}>" for cell, side in shown)

    head = f"<thead><tr>{line('th', header)}</tr></thead>" if header else ""
    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows[:MOST_ROWS])
    more = len(rows) - MOST_ROWS
    foot = f"<tr><td colspan='{len(rows[0])}'>... and {more:,} more</td></tr>" if more > 0 else ""
    return f"<table>{head}<tbody>{body}{foot}</tbody></table>"


class Bar:
    """A progress bar below the cell; it is redrawn in place, and removed at the end.

    Rich's own live display needs ipywidgets in a notebook, and leaves an empty widget in a saved one.

    Args:
        progress: Rich's bar, which is not started.
    """

    def __init__(self, progress: "Progress") -> None:
        from IPython.display import display

        self._progress = progress
        self._handle = display(progress, display_id=True)

    def refresh(self) -> None:
        """Redraw it."""
        self._handle.update(self._progress)

    def remove(self) -> None:
        """Remove it."""
        self._handle.update({"text/plain": ""}, raw=True)
