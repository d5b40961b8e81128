"""Lines and tables on stderr, above the progress bar if there is one; in a notebook, below the cell."""

import os
import sys
import threading
from typing import TYPE_CHECKING, TextIO

from convoy.console import notebook
from convoy.console.table import Table

if TYPE_CHECKING:
    from rich.console import Console

_WIDEST = 100_000  # columns that a table may need
_lock = threading.Lock()
_live: "tuple[TextIO, Console] | None" = None  # the stream with a live display, and its console


def standard_stream() -> TextIO:
    """Return stderr; in a notebook, which shows stderr as errors and has no JSON line, stdout."""
    return sys.stdout if notebook.in_notebook() else sys.stderr


def say(*parts: str | Table) -> None:
    """Print lines and tables to stderr; in a notebook, below the cell."""
    write(standard_stream(), *parts)


def write(stream: TextIO, *parts: str | Table) -> None:
    """Print lines and tables to a stream.

    Args:
        stream: Where to print; a live display on it stays below.
        parts: Lines and tables, in order.
    """
    live = live_console(stream)
    for part in parts:
        if isinstance(part, Table) and is_notebook(stream):
            notebook.show(part)
            continue
        if is_notebook(stream) or (live is None and (isinstance(part, str) or not is_terminal(stream))):
            print(part, file=stream, flush=True)
            continue
        console = live or terminal_console(stream)
        if isinstance(part, Table) and _fits(part, console):
            console.print(part)
        else:
            # The terminal wraps lines, so that a copied line has no line breaks.
            console.print(str(part), soft_wrap=True, markup=False, highlight=False, emoji=False)


def _fits(table: Table, console: "Console") -> bool:
    """Return whether a terminal is wide enough for a table without breaks inside of words."""
    return console.measure(table, options=console.options.update_width(_WIDEST)).minimum <= console.width


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal in which lines can be rewritten."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def is_notebook(stream: TextIO) -> bool:
    """Return whether what is written to a stream appears below the cell of a notebook."""
    return stream is sys.stdout and notebook.in_notebook()


def terminal_console(stream: TextIO) -> "Console":
    """Return Rich's console for a terminal."""
    from rich.console import Console

    class VisibleCursor(Console):
        """Console that never hides the cursor: a process that is killed could not show it again."""

        def show_cursor(self, show: bool = True) -> bool:
            return False

    # Rich takes Databricks for a notebook, whose cells it would write to.
    return VisibleCursor(file=stream, force_terminal=True, force_jupyter=False, highlight=False)


def notebook_console() -> "Console":
    """Return Rich's console for a notebook."""
    from rich.console import Console

    return Console(force_jupyter=True, highlight=False)


def live_console(stream: TextIO) -> "Console | None":
    """Return the console of the live display on a stream, if there is one."""
    proxied = getattr(stream, "rich_proxied_file", stream)  # Rich replaces sys.stderr meanwhile
    return _live[1] if _live and _live[0] is proxied else None


def open_live(stream: TextIO) -> "Console | None":
    """Return a console for a live display in a terminal or notebook; None elsewhere, or if there is one already."""
    global _live
    with _lock:
        if _live or not (is_terminal(stream) or is_notebook(stream)):
            return None
        _live = stream, notebook_console() if is_notebook(stream) else terminal_console(stream)
        return _live[1]


def close_live() -> None:
    """Allow the next live display."""
    global _live
    _live = None
