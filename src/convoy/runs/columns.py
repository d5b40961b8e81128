"""Columns of a table of runs, and the order of its rows. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from convoy.errors import ConfigError, did_you_mean
from convoy.runs.formats import Cell, Table
from convoy.tracking.run_record import BEST, RunRecord, lower_is_better

METRICS = ("val_accuracy", "best_val_accuracy", "val_loss", "best_val_loss", "test_accuracy")
"""Default columns of a table, as far as any run has them."""

_SECTIONS = ("model.", "training.")
_NO_SETTINGS = ("training.checkpoint.", "training.resume", "training.max_restarts", "training.stall_timeout")
_MOST = 6  # most parameters that are shown by default
_SHORTEST = 8  # digits of a run's id

Best = Mapping[str, Mapping[str, float]]
"""``best_<metric>`` -> run id -> value."""


def time_text(milliseconds: int | None) -> str:
    """Format a time as ``2026-11-20 15:30:00``, in UTC; empty for None."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def short_ids(runs: Sequence[RunRecord]) -> dict[str, str]:
    """Return a mapping: run id -> its first digits, at least eight, and enough to distinguish all of them."""
    length = _SHORTEST
    while len({run.run_id[:length] for run in runs}) < len({run.run_id for run in runs}):
        length += 1
    return {run.run_id: run.run_id[:length] for run in runs}


def chosen(given: str, known: Iterable[str], option: str) -> list[str]:
    """Return the names that the user has listed, each given in full or by its last parts.

    Args:
        given: Names with commas between them, e.g. ``learning_rate,training.seed``.
        known: All names.
        option: For the message, e.g. ``--params``.

    Raises:
        ConfigError: A name is unknown or ambiguous.
    """
    every, found = set(known), []
    for name in filter(None, (part.strip() for part in given.split(","))):
        candidates = [name] if name in every else sorted(full for full in every if full.endswith(f".{name}"))
        if not candidates:
            raise ConfigError(f"{option}: no run has {name!r}{did_you_mean(name, every)}")
        if len(candidates) > 1:
            raise ConfigError(f"{option}: {name!r} is ambiguous: {' or '.join(candidates)}; give more of it")
        found.append(candidates[0])
    return found


def metric_names(runs: Sequence[RunRecord]) -> set[str]:
    """Return the metrics that any run has, and ``best_`` of each."""
    names = {name for run in runs for name in run.metrics}
    return names | {BEST + name for name in names if not name.startswith(BEST)}


def usual_metrics(runs: Sequence[RunRecord]) -> list[str]:
    """Return the metrics that a table shows by default."""
    known = metric_names(runs)
    return [name for name in METRICS if name in known]


def differing_params(runs: Sequence[RunRecord]) -> list[str]:
    """Return parameters of the network and of training in which the runs differ: up to six, in alphabetical order."""
    trainings = [run for run in runs if "model.name" in run.params]  # settings that are null are not logged
    names = sorted({name for run in trainings for name in run.params})
    settings = [name for name in names if name.startswith(_SECTIONS) and not name.startswith(_NO_SETTINGS)]
    differing = [name for name in settings if len({run.params.get(name) for run in trainings}) > 1]
    return differing[:_MOST]


def wanted_best(metrics: Iterable[str]) -> list[str]:
    """Return the metrics whose best values are needed, without ``best_``."""
    return [name.removeprefix(BEST) for name in metrics if name.startswith(BEST)]


def value_of(run: RunRecord, metric: str, best: Best) -> float | None:
    """Return a metric's last value, or its best one with the prefix ``best_``; None if the run has none."""
    value = best[metric].get(run.run_id) if metric in best else run.metrics.get(metric)
    return None if value is None or value != value else value


def by_metric(runs: Sequence[RunRecord], metric: str, best: Best) -> list[RunRecord]:
    """Sort the runs, the best first; those without the metric come last."""
    sign = 1 if lower_is_better(metric) else -1

    def key(run: RunRecord) -> tuple[bool, float]:
        value = value_of(run, metric, best)
        return value is None, 0.0 if value is None else sign * value

    return sorted(runs, key=key)


def by_param(runs: Sequence[RunRecord], param: str) -> list[RunRecord]:
    """Sort the runs by a parameter: numbers by value, before texts; runs without it come last."""

    def key(run: RunRecord) -> tuple[int, float, str]:
        value = run.params.get(param)
        if value is None:
            return 2, 0.0, ""
        try:
            return 0, float(value), ""
        except ValueError:
            return 1, 0.0, value

    return sorted(runs, key=key)


def table(runs: Sequence[RunRecord], metrics: Sequence[str], params: Sequence[str], best: Best, short: bool) -> Table:
    """Return a table with a row for each run.

    Args:
        runs: In their order.
        metrics: Columns.
        params: Columns.
        best: For the columns ``best_<metric>``.
        short: Whether to shorten ids, and names of parameters to their last part if it is unique.
    """
    several = len({run.experiment for run in runs}) > 1
    ids = short_ids(runs) if short else {run.run_id: run.run_id for run in runs}
    ends = [name.rpartition(".")[2] for name in params]
    titles = [end if short and ends.count(end) == 1 else name for end, name in zip(ends, params, strict=True)]
    header = ["run", "name", *(["experiment"] if several else []), "status", "started (UTC)", "seconds"]
    rows: list[list[Cell]] = []
    for run in runs:
        seconds = None if run.seconds is None else round(run.seconds) if short else run.seconds
        experiment = [run.experiment] if several else []
        row: list[Cell] = [ids[run.run_id], run.name, *experiment, run.state, time_text(run.started), seconds]
        row += [value_of(run, name, best) for name in metrics]
        rows.append(row + [run.params.get(name) for name in params])
    return Table([*header, *metrics, *titles], rows)
