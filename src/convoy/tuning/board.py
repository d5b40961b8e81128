"""Console output of a study: a row for each finished trial, a progress bar with the running ones, the best one."""

import csv
import io
import json
import shlex
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from convoy.console import Progress, Table, clock, say
from convoy.training.display import line_of, where_of
from convoy.training.events import Event, Restart, Step, TrainingWarning
from convoy.tuning.parameter import Parameter
from convoy.tuning.space import in_sections
from convoy.tuning.trials import TrialResult

_WIDEST = 24


class Board:
    """Shows trials; thread-safe.

    Args:
        parameters: The space.
        metric: Name of the metric.
        total: Total number of trials; None if it is not known.
    """

    def __init__(self, parameters: Sequence[Parameter], metric: str, total: int | None) -> None:
        names = short_names([one.name for one in parameters])
        self._columns = {one.name: names[one.name] for one in parameters}
        widest = {one.name: max(len(_text(value)) for value in one.extremes) for one in parameters}
        self._header = ["trial", metric, "epochs", "time", *self._columns.values()]
        self._widths = [5, max(len(metric), 8), 6, 7]
        self._widths += [max(len(short), min(_WIDEST, max(9, widest[name]))) for name, short in self._columns.items()]
        self._total, self._begun = total, False
        self._running: dict[int, str] = {}
        self._progress = Progress("tune", total, "trials")
        self._best: TrialResult | None = None
        self._ended = 0
        self._lock = threading.Lock()

    def began(self, number: int, ended: int, best: TrialResult | None) -> None:
        """Show that a trial has started, with the number of finished ones."""
        with self._lock:
            self._running[number], self._ended, self._best = "starting", ended, best
            self._live()

    def note(self, number: int, text: str) -> None:
        """Show the progress of a trial."""
        with self._lock:
            self._running[number] = text
            self._live()

    def warn(self, number: int, text: str) -> None:
        """Show a line about a trial."""
        with self._lock:
            self._progress.line(f"trial {number}: {text}")

    def ended(self, tried: TrialResult, best: TrialResult | None) -> None:
        """Show a trial's row."""
        with self._lock:
            self._running.pop(tried.number, None)
            self._ended, self._best = self._ended + 1, best
            if not self._begun:
                self._begun = True
                self._line(self._header)
            value = f"{tried.value:.4f}" if tried.value is not None else tried.state
            mark = "*" if best and best.number == tried.number else ""
            given = [_short(tried.values[name]) if name in tried.values else "-" for name in self._columns]
            row = [str(tried.number), value + mark, str(tried.epochs), clock(tried.seconds), *given]
            self._line([*row, tried.reason] if tried.state == "failed" else row)
            self._live()

    def close(self) -> None:
        """Erase the progress bar."""
        self._progress.close()

    def _line(self, cells: Sequence[str]) -> None:
        self._progress.line(str(Table([cells], widths=self._widths)))  # rows appear one at a time

    def _live(self) -> None:
        ended = str(self._ended) if self._total is None else f"{self._ended}/{self._total}"
        best = f"  best {self._best.value:.4f} (trial {self._best.number})" if self._best else ""
        running = "  ".join(f"[{number}] {text}" for number, text in sorted(self._running.items()))
        self._progress.note(f"{ended} trials{best}  {running}", None if self._total is None else self._ended)


class TrialDisplay:
    """Display of a trial's training: its epoch and its warnings are shown on the board, its metrics in the table.

    Args:
        board: The board.
        number: Number of the trial.
    """

    def __init__(self, board: Board, number: int) -> None:
        self._board, self._number = board, number

    def __enter__(self) -> "TrialDisplay":
        self._board.note(self._number, "starting the ranks")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Step():
                self._board.note(self._number, where_of(event))
            case TrainingWarning() | Restart():
                self._board.warn(self._number, line_of(event) or "")


def say_best(best: TrialResult, metric: str) -> None:
    """Print the best trial, with the arguments that train it again."""
    arguments = " ".join(f"--{name} {_exact(value)}" for name, value in best.values.items())
    say(f"best: trial {best.number}, {metric} {best.value:.4f}: {arguments}")


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return the shortest unique ends of dotted names; never ``name`` alone, which has no meaning by itself."""
    short = {}
    for name in names:
        parts = name.split(".")
        ends = (".".join(parts[-count:]) for count in range(2 if parts[-1] == "name" else 1, len(parts) + 1))
        short[name] = next(end for end in ends if sum(f".{other}".endswith(f".{end}") for other in names) == 1)
    return short


def as_csv(trials: Sequence[TrialResult], parameters: Sequence[Parameter], metric: str) -> str:
    """Format trials as CSV, a line for each."""
    file = io.StringIO()
    names = [one.name for one in parameters]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["trial", "state", metric, "epochs", "seconds", *names, "run_id", "reason"])
    for one in trials:
        given = [one.values.get(name, "") for name in names]
        value = "" if one.value is None else one.value
        row = [one.number, one.state, value, one.epochs, round(one.seconds, 3), *given, one.run_id, one.reason]
        writer.writerow(row)
    return file.getvalue()


def as_yaml(values: Mapping[str, Any]) -> str:
    """Format the values as sections of a configuration file."""
    return yaml.safe_dump(in_sections(values), sort_keys=False)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _exact(value)


def _short(value: Any) -> str:
    """Format a value for the table; ``trials.csv`` has all of it."""
    text = _text(value)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _exact(value: Any) -> str:
    """Format a value for the command line."""
    return value if isinstance(value, str) else shlex.quote(json.dumps(value))
