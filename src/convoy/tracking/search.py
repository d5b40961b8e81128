"""Runs through MLflow's client: one by its id or name, several by a filter; their histories and files."""

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.search_utils import SearchUtils

from convoy.errors import ConfigError, TrackingError
from convoy.tracking.connection import first_line
from convoy.tracking.run_record import RunRecord, no_experiment

_PAGE = 1000
_THREADS = 8
_LISTED = 5  # runs in a message
_ID = re.compile(r"[0-9a-f]{1,32}")
_FILTER_EXAMPLE = "metrics.val_accuracy > 0.9 and params.`model.name` = 'lenet5'"


def search(experiment: str | None, matching: str | None) -> list[RunRecord]:
    """Read all runs, or those of an experiment, that match MLflow's filter; the newest first.

    Raises:
        TrackingError: There is no such experiment.
        ConfigError: The filter is invalid.
    """
    experiments = {each.experiment_id: each.name for each in _experiments()}
    if experiment is not None:
        if experiment not in experiments.values():
            raise no_experiment(experiment, experiments.values(), mlflow.get_tracking_uri())
        experiments = {key: name for key, name in experiments.items() if name == experiment}
    return [_record(run, experiments) for run in _search(list(experiments), matching)]


def _search(experiments: list[str], matching: str | None) -> list[Run]:
    client, token = mlflow.MlflowClient(), None
    found: list[Run] = []
    while True:
        try:
            order = ["attributes.start_time DESC"]
            page = client.search_runs(experiments, matching or "", 1, _PAGE, order, token)
        except MlflowException as error:
            raise _wrong_filter(matching, error) if matching else TrackingError(first_line(error)) from None
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


def filtered(runs: Sequence[RunRecord], matching: str) -> list[RunRecord]:
    """Return the runs that match MLflow's filter, evaluated like in a store without indexes.

    Raises:
        ConfigError: The filter is invalid.
    """
    as_mlflow = [
        SimpleNamespace(
            record=run,
            data=run,
            info=SimpleNamespace(
                run_id=run.run_id,
                run_name=run.name,
                status=run.status,
                start_time=run.started,
                end_time=run.ended,
                user_id=run.user,
                artifact_uri=run.artifact_uri,
            ),
        )
        for run in runs
    ]
    try:
        return [found.record for found in SearchUtils.filter(as_mlflow, matching)]
    except MlflowException as error:
        raise _wrong_filter(matching, error) from None


def _wrong_filter(matching: str | None, error: MlflowException) -> ConfigError:
    return ConfigError(
        f"--filter {matching!r} is not a valid filter: {first_line(error)}; expected e.g. {_FILTER_EXAMPLE!r}"
    )


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
        raise TrackingError(f"{mlflow.get_tracking_uri()} cannot search runs: {first_line(error)}") from None
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


def best_of_histories(
    run_ids: Sequence[str], metric: str, best: Callable[[Iterable[float]], float]
) -> dict[str, float]:
    """Return the best value of a metric by run id, for the runs that have any; sends one request per run."""

    def one(run_id: str) -> float | None:
        values = [value for value in history(run_id, metric).values() if value == value]
        return best(values) if values else None

    with ThreadPoolExecutor(_THREADS) as threads:
        found = dict(zip(run_ids, threads.map(one, run_ids), strict=True))
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
