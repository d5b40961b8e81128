"""Fast listing of all runs of a store.

The tables of a SQLite file are read directly: MLflow's search creates an object for each parameter and metric,
which takes seconds for a thousand runs. Other stores are queried through MLflow, which is imported only then.
"""

import math
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from convoy.errors import TrackingError
from convoy.tracking.run_record import RunRecord, no_experiment
from convoy.tracking.sqlite import SQLITE, sqlite_file

BEST = "best_"
"""``best_<metric>`` is the best value of a metric over the epochs."""

_LOCK_SECONDS = 20
_OF_DATASETS = re.compile(r"(?<![\w.`\"])datasets?\.")  # clauses on a run's inputs, which are not read here
_LOWER_IS_BETTER = ("loss", "error", "seconds", "_ms", "_mb", "_share", "dead_units", "gradient_norm")


def lower_is_better(metric: str) -> bool:
    """Return whether a metric's best value is its lowest: for losses, errors, times and sizes."""
    return any(part in metric for part in _LOWER_IS_BETTER)


def all_runs(uri: str, experiment: str | None = None, matching: str | None = None) -> list[RunRecord]:
    """Read all runs that were not deleted, the newest first.

    Args:
        uri: URI of the store, which exists.
        experiment: Name of the experiment; None for all of them.
        matching: MLflow's filter, e.g. ``metrics.val_accuracy > 0.9 and params.`model.name` = 'lenet5'``.

    Raises:
        TrackingError: The store cannot be read, there is no such experiment, or the filter is invalid.
    """
    file = sqlite_file(uri)
    if file is None or (matching and _OF_DATASETS.search(matching)):
        from convoy.tracking import connection, search

        connection.connect(uri)
        return search.search(experiment, matching)
    found = _read(file, experiment)
    if matching:
        from convoy.tracking import search

        return search.filtered(found, matching)
    return found


def best_values(uri: str, runs: Sequence[RunRecord], metric: str) -> dict[str, float]:
    """Return the best value of a metric over its history: run id -> value, for the runs that have any.

    Args:
        uri: URI of the store.
        runs: Runs of that store.
        metric: Its name, without ``best_``.
    """
    name = BEST + metric
    known = {run.run_id: run.metrics[name] for run in runs if name in run.metrics}
    others = [run.run_id for run in runs if name not in run.metrics and metric in run.metrics]
    if not others:
        return known
    if file := sqlite_file(uri):
        extreme = "MIN" if lower_is_better(metric) else "MAX"
        query = f"SELECT run_uuid, {extreme}(value) FROM metrics WHERE key = ? AND NOT is_nan GROUP BY run_uuid"
        wanted = set(others)
        with closing(_opened(file)) as database:
            return known | {run_id: value for run_id, value in database.execute(query, [metric]) if run_id in wanted}
    from convoy.tracking import search

    return known | search.best_of_histories(others, metric, min if lower_is_better(metric) else max)


def _read(file: Path, experiment: str | None) -> list[RunRecord]:
    try:
        with closing(_opened(file)) as database:
            experiments = dict(
                database.execute("SELECT experiment_id, name FROM experiments WHERE lifecycle_stage = 'active'")
            )
            if experiment is not None:
                if experiment not in experiments.values():
                    raise no_experiment(experiment, experiments.values(), SQLITE + str(file))
                experiments = {key: name for key, name in experiments.items() if name == experiment}
            runs = database.execute(
                "SELECT run_uuid, name, experiment_id, status, start_time, end_time, user_id, artifact_uri FROM runs"
                " WHERE lifecycle_stage = 'active' ORDER BY start_time DESC, run_uuid"
            ).fetchall()
            params = _by_run(database.execute("SELECT run_uuid, key, value FROM params"))
            tags = _by_run(database.execute("SELECT run_uuid, key, value FROM tags"))
            metrics = _by_run(
                (run_id, name, math.nan if is_nan else value)
                for run_id, name, value, is_nan in database.execute(
                    "SELECT run_uuid, key, value, is_nan FROM latest_metrics"
                )
            )
    except sqlite3.Error as error:
        raise TrackingError(f"{SQLITE}{file} is not a readable MLflow store: {error}") from None
    return [
        RunRecord(
            run_id,
            name or "",
            experiments[key],
            status,
            started or 0,
            ended,
            params[run_id],
            metrics[run_id],
            tags[run_id],
            user or "",
            artifact_uri or "",
        )
        for run_id, name, key, status, started, ended, user, artifact_uri in runs
        if key in experiments
    ]


def _opened(file: Path) -> sqlite3.Connection:
    # Read-only, so that a missing file is not created.
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=_LOCK_SECONDS)


def _by_run(rows: Iterable[tuple[str, str, Any]]) -> defaultdict[str, dict[str, Any]]:
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for run_id, name, value in rows:
        found[run_id][name] = value
    return found
