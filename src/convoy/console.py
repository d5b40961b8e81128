"""Output for the user while a job runs. All of it goes to stderr; stdout is reserved for the JSON line."""

import os
import sys
import time
from collections.abc import Sequence
from typing import TextIO

_REDRAW_SECONDS = 0.2  # in a terminal
_LINE_SECONDS = 10.0  # elsewhere, between plain lines


def say(text: str) -> None:
    """Print one line to stderr."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """A live progress line in a terminal; a plain line every ten seconds elsewhere.

    Args:
        label: Name of the activity, e.g. ``"ingest"``.
        total: Total number of units of work.
        unit: Name of a unit, e.g. ``"images"``.
        stream: Where to write; stderr by default.
    """

    def __init__(self, label: str, total: int, unit: str = "images", stream: TextIO | None = None) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.started = self.shown = time.monotonic()
        self.width = 0

    def update(self, done: int, detail: str = "") -> None:
        """Show that ``done`` of ``total`` units are done, followed by ``detail``, the rate and the time left."""
        rate = done / max(1e-9, time.monotonic() - self.started)
        parts = [f"{done:,}/{self.total:,} {self.unit}"]
        if detail:
            parts.append(detail)
        if rate > 0:
            parts.append(f"{rate:,.0f} {self.unit}/s")
            parts.append(f"{clock((self.total - done) / rate)} left")
        self.note("  ".join(parts))

    def note(self, text: str) -> None:
        """Show a text after the label; calls that follow each other too quickly are not shown."""
        now = time.monotonic()
        if now - self.shown >= (_REDRAW_SECONDS if self.live else _LINE_SECONDS):
            self.shown = now
            self._write(f"{self.label} {text}")

    def line(self, text: str) -> None:
        """Print a permanent line above the live one."""
        self._erase()
        self.stream.write(text + "\n")
        self.stream.flush()

    def close(self) -> None:
        """Erase the live line; lines printed with ``line`` stay."""
        self._erase()

    def _write(self, text: str) -> None:
        if self.live:
            text = text[: self._columns() - 1]  # a wrapped line could not be rewritten
            self.stream.write("\r" + text.ljust(self.width))
            self.width = len(text)
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except OSError:
            return 80

    def _erase(self) -> None:
        if self.live and self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.stream.flush()
            self.width = 0


def clock(seconds: float) -> str:
    """Format a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(int(max(0.0, seconds) + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def table(rows: Sequence[Sequence[str]], header: Sequence[str] | None = None) -> str:
    """Format rows of text as left-aligned columns, with an optional header."""
    lines = [list(header), *map(list, rows)] if header else [list(row) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    if header:
        text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text)
