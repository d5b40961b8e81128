"""Progress of an activity: a bar in a terminal or a notebook, a plain line from time to time elsewhere."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from convoy.console import notebook, output
from convoy.console.table import Table

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_REDRAW_SECONDS = 0.2  # in a terminal
_NOTEBOOK_SECONDS = 0.5  # in a notebook, where each drawing is a message
_LINE_SECONDS = 10.0  # elsewhere, between plain lines
_BAR_COLUMNS = 20


class Progress:
    """Context manager that shows the progress of an activity.

    Args:
        label: Name of the activity, e.g. ``"ingest"``.
        total: Total number of units of work; None if it is not known.
        unit: Name of a unit, e.g. ``"images"``.
        stream: Where to write; stderr by default, stdout in a notebook.
    """

    def __init__(self, label: str, total: float | None, unit: str = "images", stream: TextIO | None = None) -> None:
        self.label, self.total, self.unit = label, total, unit
        self._stream = stream or output.standard_stream()
        self._started = self._shown = time.monotonic()
        self._every = _LINE_SECONDS
        self._in_notebook = output.is_notebook(self._stream)
        self._has_bar = self._in_notebook or output.is_terminal(self._stream)
        if self._has_bar:
            self._every = _NOTEBOOK_SECONDS if self._in_notebook else _REDRAW_SECONDS
            self._shown -= self._every  # the bar appears at once
        self._bar: RichProgress | None = None
        self._below_cell: notebook.Bar | None = None
        self._closed = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def update(self, done: int, detail: str = "") -> None:
        """Show that ``done`` of ``total`` units are done, followed by ``detail``, the rate and the time left."""
        total = self.total or 0
        rate = done / max(1e-9, time.monotonic() - self._started)
        parts = [f"{done:,}/{total:,} {self.unit}"]
        if detail:
            parts.append(detail)
        if rate > 0:
            parts.append(f"{rate:,.0f} {self.unit}/s")
            parts.append(f"{clock((total - done) / rate)} left")
        self.note("  ".join(parts), done)

    def note(self, text: str, done: float | None = None) -> None:
        """Show a text after the label; calls that follow each other too quickly are not shown.

        Args:
            text: The text.
            done: Units that are done; None if this is not known.
        """
        now = time.monotonic()
        if self._closed or now - self._shown < self._every:
            return
        self._shown = now
        if not self._has_bar:
            self._stream.write(f"{self.label} {text}\n")
            self._stream.flush()
        elif bar := self._opened():
            total = None if done is None else self.total
            bar.update(bar.task_ids[0], total=total, completed=done or 0, text=text, refresh=not self._in_notebook)
            if self._in_notebook:
                self._below_cell = self._below_cell or notebook.Bar(bar)
                self._below_cell.refresh()

    def line(self, *parts: str | Table) -> None:
        """Print permanent lines and tables, above the bar."""
        output.write(self._stream, *parts)

    def close(self) -> None:
        """Erase the bar for good; lines printed with ``line`` stay."""
        self._closed = True
        if self._bar is not None:
            if self._below_cell is not None:
                self._below_cell.remove()
            else:
                self._bar.stop()
            self._bar = self._below_cell = None
            output.close_live()

    def _opened(self) -> "RichProgress | None":
        """Return the bar; None if another activity has one on this terminal."""
        if self._bar is None and (console := output.open_live(self._stream)):
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                BarColumn(_BAR_COLUMNS),  # in a narrow terminal it shrinks, and then the text is cut
                TextColumn("{task.description} {task.fields[text]}", markup=False),
                console=console,
                transient=True,
                auto_refresh=False,  # without a thread
                redirect_stdout=False,
                redirect_stderr=self._stream is sys.stderr,  # warnings of libraries appear above the bar
            )
            self._bar.add_task(self.label, total=None, text="")
            if not self._in_notebook:
                self._bar.start()
        return self._bar


def clock(seconds: float) -> str:
    """Format a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(int(max(0.0, seconds) + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
