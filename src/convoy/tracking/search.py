"""Runs through MLflow's client: one by its id or name, several by a filter; their histories and files."""

import gc
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from convoy.errors import ConfigError, TrackingError
from convoy.tracking.auth_errors import refusal
from convoy.tracking.connection import first_line
from convoy.tracking.run_record import BEST, RunRecord, lower_is_better, of_experiment

_PAGE = 1000
_THREADS = 8
_LISTED = 5  # runs in a message
_ID = re.compile(r"[0-9a-f]{1,32}")
_FILTER_EXAMPLE = "metrics.val_accuracy > 0.9 and params.`model.name` = 'lenet5'"


def all_runs(experiment: str | None = None, matching: str | None = None) -> list[RunRecord]:
    """Read all runs that were not deleted, the newest first.

    Args:
        experiment: Name of the experiment; None for all of them.
        matching: MLflow's filter, e.g. ``metrics.val_accuracy > 0.9 and params.`model.name` = 'lenet5'``.

    Raises:
        TrackingError: There is no such experiment, or the store cannot search.
        ConfigError: The filter is invalid.
    """
    experiments = {each.experiment_id: each.name for each in _experiments()}
    if experiment is not None:
        experiments = of_experiment(experiments, experiment, mlflow.get_tracking_uri())
    with _no_garbage_collection():
        return [_record(run, experiments) for run in _search(list(experiments), matching)]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Pause the cyclic garbage collector.

    For a SQLite store MLflow creates an object for each parameter, metric and tag, 56,000 for 300 runs, and all of
    them are in use until the end. The collections in between would take 0.8 s of 1.2 s.
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


def _search(experiments: list[str], matching: str | None) -> list[Run]:
    client, token = mlflow.MlflowClient(), None
    found: list[Run] = []
    while True:
        try:
            order = ["attributes.start_time DESC"]
            page = client.search_runs(experiments, matching or "", 1, _PAGE, order, token)
        except MlflowException as error:
            raise _search_failed(error, matching) from None
        found += page
        token = page.token
        if not token:
            return found


def _experiments() -> Iterable[Experiment]:
    client, token = mlflow.MlflowClient(), None
    while True:
        page = client.search_experiments(max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _search_failed(error: MlflowException, matching: str | None = None) -> ConfigError | TrackingError:
    if matching and error.error_code == "INVALID_PARAMETER_VALUE":
        return ConfigError(
            f"--filter {matching!r} is not a valid filter: {first_line(error)}; expected e.g. {_FILTER_EXAMPLE!r}"
        )
    where = mlflow.get_tracking_uri()
    return refusal(error) or TrackingError(f"{where} cannot search runs: {first_line(error)}")


def find(reference: str) -> RunRecord:
    """Return the run with that id, with an id that begins so, or with that name.

    Raises:
        TrackingError: There is none, or there are several.
    """
    experiments = {each.experiment_id: each.name for each in _experiments()}
    found: dict[str, Run] = {}
    if _ID.fullmatch(reference):
        found = {run.info.run_id: run for run in _few(experiments, f"attributes.run_id LIKE '{reference}%'")}
    if len(reference) < 32 or not found:
        quote = "'" if "'" not in reference else '"'
        if quote not in reference:
            name = f"attributes.run_name = {quote}{reference}{quote}"
            found |= {run.info.run_id: run for run in _few(experiments, name)}
    if len(found) == 1:
        return _record(next(iter(found.values())), experiments)
    where = mlflow.get_tracking_uri()
    if not found:
        raise TrackingError(f"there is no run {reference!r} in {where}; list the existing ones with `convoy runs list`")
    listed = ", ".join(f"{run.info.run_id[:12]} ({run.info.run_name})" for run in list(found.values())[:_LISTED])
    more = " and others" if len(found) > _LISTED else ""
    raise TrackingError(f"{reference!r} matches several runs of {where}: {listed}{more}; give more of an id")


def _few(experiments: Iterable[str], matching: str) -> list[Run]:
    try:
        found = mlflow.MlflowClient().search_runs(list(experiments), matching, max_results=_LISTED + 1)
    except MlflowException as error:
        raise _search_failed(error) from None
    return list(found)


def _record(run: Run, experiments: dict[str, str]) -> RunRecord:
    info, data = run.info, run.data
    rows: dict[str, int] = {}
    for each in run.inputs.dataset_inputs if run.inputs else []:
        try:
            rows = dict(json.loads(each.dataset.profile or "{}").get("rows", {}))
        except (ValueError, AttributeError, TypeError):
            continue  # logged by another tool
    return RunRecord(
        info.run_id,
        info.run_name or "",
        experiments[info.experiment_id],
        info.status,
        info.start_time or 0,
        info.end_time,
        data.params,
        data.metrics,
        data.tags,
        info.user_id or "",
        info.artifact_uri or "",
        rows,
    )


def history(run_id: str, metric: str) -> dict[int, float]:
    """Return a mapping: step -> value of a metric, in order; for a step that was logged twice, the last value."""
    points = mlflow.MlflowClient().get_metric_history(run_id, metric)
    return {point.step: point.value for point in sorted(points, key=lambda point: (point.step, point.timestamp))}


def best_values(runs: Sequence[RunRecord], metric: str) -> dict[str, float]:
    """Return the best value of a metric over its history: run id -> value, for the runs that have any.

    Trainings log ``best_<metric>``. For other runs, the history is requested, one request per run.

    Args:
        runs: The runs.
        metric: Its name, without ``best_``.
    """
    name, best = BEST + metric, min if lower_is_better(metric) else max

    def from_history(run: RunRecord) -> float | None:
        values = [value for value in history(run.run_id, metric).values() if value == value]
        return best(values) if values else None

    found: dict[str, float | None] = {run.run_id: run.metrics[name] for run in runs if name in run.metrics}
    others = [run for run in runs if name not in run.metrics and metric in run.metrics]
    with ThreadPoolExecutor(_THREADS) as threads:
        found |= dict(zip((run.run_id for run in others), threads.map(from_history, others), strict=True))
    return {run_id: value for run_id, value in found.items() if value is not None}


def artifact_text(run_id: str, path: str) -> str | None:
    """Return the content of a text file of a run, or None if the run has no such file.

    Raises:
        TrackingError: The file cannot be downloaded.
    """
    client, folder = mlflow.MlflowClient(), path.rpartition("/")[0]
    try:
        if path not in {file.path for file in client.list_artifacts(run_id, folder or None)}:
            return None
        with tempfile.TemporaryDirectory(prefix="convoy-") as temporary:
            return Path(client.download_artifacts(run_id, path, temporary)).read_text(encoding="utf-8")
    except Exception as error:  # depends on the artifact store
        raise TrackingError(f"{path} of run {run_id} cannot be downloaded: {first_line(error)}") from None


def artifact_json(run_id: str, path: str) -> dict[str, Any] | None:
    """Return the content of a JSON file of a run, or None if the run has no such file or it is damaged."""
    try:
        values = json.loads(artifact_text(run_id, path) or "null")
    except ValueError:
        return None
    return values if isinstance(values, dict) else None
