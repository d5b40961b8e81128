"""Single runs: shown, compared, drawn together. Needs MLflow."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convoy.config import Config
from convoy.console import Table, say
from convoy.errors import ConfigError, TrackingError
from convoy.experiments.comparison import rows_of
from convoy.experiments.figures import comparison_picture
from convoy.runs import columns
from convoy.runs.difference import Environment, difference
from convoy.runs.formats import Format, finite, formatted, shown
from convoy.tracking import connection, provenance, search
from convoy.tracking.child_runs import OF_EPOCHS, trial_of
from convoy.tracking.liveness import LOST
from convoy.tracking.presentation import flatten, parameters
from convoy.tracking.run_record import BEST, RunRecord

_OF_EPOCHS = ("loss", "accuracy", "val_loss", "val_accuracy")
_MOST_RUNS = 20  # most runs in a picture


def show(uri: str, reference: str) -> dict[str, Any]:
    """Show a run; see ``commands.show_run``."""
    connection.connect(uri, read_only=True)
    run = search.find(reference)
    values = {name: value for name, value in sorted(run.metrics.items()) if "/" not in name}
    best = {name: search.best_values([run], name).get(run.run_id) for name in _OF_EPOCHS if name in values}
    others = changed_settings(run)
    say(Table(_facts(run)))
    if others:
        say("\nsettings that are not the default", Table([[name, value] for name, value in others.items()]))
    if values:
        lines = [[n, shown(v), shown(best.get(n))] for n, v in values.items() if not n.startswith(BEST)]
        say("\nmetrics", Table(lines, ["", "last", "best"], align="<>>"))
    if left := len(run.metrics) - len(values):
        say(f"and {left:,} of single ranks, layers and machines, shown on MLflow's page of the run")
    return {
        "run_id": run.run_id,
        "name": run.name,
        "experiment": run.experiment,
        "status": run.state,
        "started": columns.time_text(run.started),
        "seconds": run.seconds,
        "rows": dict(run.rows),
        "params": dict(run.params),
        "metrics": {name: finite(value) for name, value in run.metrics.items()},
        "tags": {name: value for name, value in run.tags.items() if not name.startswith("mlflow.log-model")},
    }


def changed_settings(run: RunRecord) -> dict[str, str]:
    """Return the parameters of a run that differ from Convoy's current defaults."""
    every = {name: str(value) for name, value in flatten(dataclasses.asdict(Config())).items()}
    defaults = every | parameters(Config())
    return {name: value for name, value in sorted(run.params.items()) if defaults.get(name) != value}


def _facts(run: RunRecord) -> list[list[str]]:
    tags = run.tags
    took = "still running" if run.seconds is None else f"{run.seconds:,.0f} s"
    if run.state == LOST:
        took = f"its driver does not exist any more; continue with --resume {run.run_id}"
    commit = tags.get(provenance.COMMIT, "")
    if commit.endswith("-dirty"):
        commit = f"{commit.removesuffix('-dirty')}, with the changes in {provenance.CHANGES}"
    rows = ", ".join(f"{count:,} {split}" for split, count in run.rows.items())
    dataset = " ".join(tags[name] for name in (provenance.DATASET, provenance.VERSION) if name in tags)
    facts = {
        "run": run.run_id,
        "name": run.name,
        "experiment": run.experiment,
        "status": f"{run.state}, {took}, from {columns.time_text(run.started)} UTC",
        "failure": tags.get("convoy.failure", "").partition("\n")[0],
        "user": run.user or tags.get("mlflow.user", ""),
        "code": commit,
        "dataset": f"{dataset}: {rows}" if rows else dataset,
        "weights": tags.get(provenance.WEIGHTS_SHA256, ""),
        "reproduces": tags.get(provenance.REPRODUCES, ""),
        "resumed": tags.get("convoy.resumed", ""),
    }
    return [[name, value] for name, value in facts.items() if value]


def environment(run: RunRecord) -> Environment:
    """Return the packages and the machine that a run was trained with, as far as they are recorded."""
    packages = search.artifact_text(run.run_id, provenance.PACKAGES)
    machine = search.artifact_json(run.run_id, provenance.MACHINE)
    return Environment(None if packages is None else provenance.read_packages(packages), machine)


def diff(uri: str, before: str, after: str, format: Format) -> dict[str, Any] | str:
    """Compare two runs; see ``commands.diff_runs``."""
    connection.connect(uri, read_only=True)
    first, second = search.find(before), search.find(after)
    found = difference(first, second, environment(first), environment(second))
    ids = columns.short_ids([first, second])
    text = format in ("text", "markdown")
    before, after = (ids[run.run_id] if text else run.run_id for run in (first, second))
    differences = found.table(before, after, short=text)
    if format in ("markdown", "csv"):
        return formatted(differences, format, "differences")
    if format == "text":
        say(differences.shown() if found.sections else "they do not differ")
        for name in found.unknown:
            say(f"{name}: not recorded by both runs")
    return {"before": first.run_id, "after": second.run_id, **found.plain(), "unknown": list(found.unknown)}


def compare(uri: str, references: Sequence[str], output: str) -> dict[str, Any]:
    """Draw runs together; see ``commands.compare_runs``."""
    connection.connect(uri, read_only=True)
    runs = list({run.run_id: run for run in map(search.find, references)}.values())
    if len(runs) > _MOST_RUNS:
        raise ConfigError(f"compare takes at most {_MOST_RUNS} runs, but got {len(runs)}; leave some out")
    trials = [trial_of(run.run_id, label) for run, label in zip(runs, labels(runs), strict=True)]
    for trial in trials:
        if not trial.history or not all(set(OF_EPOCHS) <= epoch.keys() for epoch in trial.history):
            raise TrackingError(f"run {trial.run_id} has no curves of a training by Convoy; leave it out")
    experiments = " and ".join(dict.fromkeys(run.experiment for run in runs))
    rows = rows_of(trials, [trial.variant for trial in trials])
    try:
        comparison_picture(rows, f"runs of {experiments}").savefig(output, dpi=110)
    except OSError as error:
        raise ConfigError(f"--output {output!r} cannot be written: {error.strerror}; choose another file") from None
    say(f"{output}: {', '.join(trial.variant for trial in trials)}")
    return {"runs": [run.run_id for run in runs], "output": str(Path(output).absolute())}


def labels(runs: Sequence[RunRecord]) -> list[str]:
    """Return the label of each run in a picture: its name, with the beginning of its id if the name is not unique."""
    names, ids = Counter(run.name for run in runs), columns.short_ids(runs)
    return [run.name if names[run.name] == 1 and run.name else f"{ids[run.run_id]} {run.name}" for run in runs]
