"""The ``convoy runs`` commands: text for people on stderr, and the same results as values for the JSON line."""

from typing import Any

from convoy.config import TrackingConfig
from convoy.config.loading import parse
from convoy.config.locations import local_field
from convoy.config.tracking import setting_of
from convoy.console import say
from convoy.errors import ConfigError, TrackingError
from convoy.runs import columns
from convoy.runs.formats import Format, finite, formatted
from convoy.tracking.run_record import BEST, RunRecord
from convoy.tracking.sqlite import sqlite_file

_PICTURES = (".png", ".svg", ".pdf")


def place(config: str | None, uri: str | None) -> TrackingConfig:
    """Return where to find runs: section ``tracking`` of a file, or its defaults, with another store if one is given.

    Raises:
        TrackingError: A SQLite file that does not exist; it is not created.
    """
    tracking = parse("runs", "", ["--config", config]).tracking if config else TrackingConfig()
    store = uri or tracking.uri
    file, setting = sqlite_file(store), setting_of("uri", store)
    origin = f" (from {setting})" if setting.startswith("MLFLOW_") else ""
    if file is not None and not file.is_file():
        raise TrackingError(
            f"there is no tracking store {store!r}{origin}; run jobs/train.py first, or name one with --config FILE or"
            " --uri sqlite:///FILE"
        )
    return TrackingConfig(uri=store, experiment=tracking.experiment)


def list_runs(
    config: str | None = None,
    uri: str | None = None,
    experiment: str | None = None,
    filter: str | None = None,
    params: str | None = None,
    metrics: str | None = None,
    sort: str | None = None,
    limit: int | None = None,
    format: Format = "text",
) -> dict[str, Any] | str:
    """List runs, the newest first, with parameters and metrics.

    Args:
        config: File whose tracking.uri and tracking.experiment are used.
        uri: Tracking store; default is the file's, or MLFLOW_TRACKING_URI, or sqlite:///mlflow.db.
        experiment: Name of an experiment; default is the file's, without a file all of them.
        filter: MLflow's filter, e.g. "metrics.val_accuracy > 0.9 and params.`model.name` = 'lenet5'".
        params: Parameters to show, separated by commas; the last part of a name is enough: learning_rate,seed;
            default are those of model and training that differ, six at most.
        metrics: Metrics to show: the last value, or the best one of best_<metric>; default are those of validation and
            test.
        sort: A metric (the best run first), a parameter (ascending) or name; default is the start time.
        limit: Maximum number of runs to show.
        format: text goes to stderr, the others to stdout in place of the JSON line.
    """
    where = place(config, uri)
    experiment = experiment or (where.experiment if config else None)
    runs = _all_runs(where.uri, experiment, filter)
    known = columns.metric_names(runs)
    by = (
        columns.chosen(sort, {"name", *known, *(name for run in runs for name in run.params)}, "--sort") if sort else []
    )
    if len(by) > 1:
        raise ConfigError(f"--sort is {sort!r}; expected one name")
    shown = columns.usual_metrics(runs) if metrics is None else columns.chosen(metrics, known, "--metrics")
    best = _best(runs, [*shown, *by])
    for name in by:
        if name == "name":
            runs = sorted(runs, key=lambda run: run.name)
        else:
            runs = columns.by_metric(runs, name, best) if name in known else columns.by_param(runs, name)
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit is {limit}; expected 1 or more")
    runs = runs[:limit]
    if params is None:
        fields = columns.differing_params(runs)
    else:
        fields = columns.chosen(params, {name for run in runs for name in run.params}, "--params")
    table = columns.table(runs, shown, fields, best, short=format in ("text", "markdown"))
    if format != "text":
        return formatted(table, format, "runs")
    say(table.shown() if runs else "no runs")
    return {"runs": len(runs)}


def _all_runs(uri: str, experiment: str | None, filter: str | None) -> list[RunRecord]:
    from convoy.tracking import connection, search  # import MLflow, which --help does not need

    connection.connect(uri, read_only=True)
    return search.all_runs(experiment, filter)


def _best(runs: list[RunRecord], metrics: list[str]) -> dict[str, dict[str, float]]:
    from convoy.tracking import search

    return {BEST + name: search.best_values(runs, name) for name in columns.wanted_best(metrics)}


def best_run(
    metric: str = "val_accuracy",
    config: str | None = None,
    uri: str | None = None,
    experiment: str | None = None,
    filter: str | None = None,
) -> dict[str, Any]:
    """Show which of the finished runs is the best by a metric.

    Args:
        metric: The last value of a metric, or best_<metric>; for losses, errors, times and sizes the lowest wins, else
            the highest.
        config: File whose tracking.uri and tracking.experiment are used.
        uri: Tracking store; default is the file's, or MLFLOW_TRACKING_URI, or sqlite:///mlflow.db.
        experiment: Name of an experiment; default is the file's, without a file all of them.
        filter: MLflow's filter, as for list.
    """
    where = place(config, uri)
    experiment = experiment or (where.experiment if config else None)
    runs = [run for run in _all_runs(where.uri, experiment, filter) if run.status == "FINISHED"]
    if not runs:
        raise TrackingError(f"no run has finished in {where.uri}" + (" that matches the filter" if filter else ""))
    (name,) = columns.chosen(metric.replace(",", " "), columns.metric_names(runs), "--metric")
    best = _best(runs, [name])
    first = columns.by_metric(runs, name, best)[0]
    value = columns.value_of(first, name, best)
    if value is None:
        raise TrackingError(f"no finished run has a numeric value of {name}")
    say(f"{name} {value:.6g}: run {first.run_id} ({first.name}), of {len(runs):,} finished")
    return {"run_id": first.run_id, "name": first.name, "metric": name, "value": finite(value), "of": len(runs)}


def show_run(run: str, config: str | None = None, uri: str | None = None) -> dict[str, Any]:
    """Show the provenance and the results of a run.

    Args:
        run: Its id, the beginning of it, or its name.
        config: File whose tracking.uri is used.
        uri: Tracking store; default is the file's, or MLFLOW_TRACKING_URI, or sqlite:///mlflow.db.
    """
    where = place(config, uri)
    from convoy.runs import details  # imports MLflow

    return details.show(where.uri, run)


def diff_runs(
    before: str, after: str, config: str | None = None, uri: str | None = None, format: Format = "text"
) -> dict[str, Any] | str:
    """Show the differences between two runs: configuration, data, code, packages, machine, metrics.

    Args:
        before: A run's id, the beginning of it, or its name.
        after: Id, its beginning, or name of the other run.
        config: File whose tracking.uri is used.
        uri: Tracking store; default is the file's, or MLFLOW_TRACKING_URI, or sqlite:///mlflow.db.
        format: text goes to stderr, the others to stdout in place of the JSON line.
    """
    where = place(config, uri)
    from convoy.runs import details

    return details.diff(where.uri, before, after, format)


def compare_runs(
    runs: list[str], config: str | None = None, uri: str | None = None, output: str = "comparison.png"
) -> dict[str, Any]:
    """Draw the curves of several runs in one picture, with their final values.

    Args:
        runs: Their ids, the beginnings of them, or their names.
        config: File whose tracking.uri is used.
        uri: Tracking store; default is the file's, or MLFLOW_TRACKING_URI, or sqlite:///mlflow.db.
        output: File to draw into: .png, .svg or .pdf.
    """
    output = local_field("--output", output)
    where = place(config, uri)
    if not output.lower().endswith(_PICTURES):
        raise ConfigError(f"--output is {output!r}; expected a file that ends in {', '.join(_PICTURES)}")
    from convoy.runs import details

    return details.compare(where.uri, runs, output)
