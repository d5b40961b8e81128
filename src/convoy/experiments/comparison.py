"""Results of an experiment as numbers: a row for each variant, in the texts for a run and a terminal."""

import csv
import functools
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from convoy.tracking.child_runs import ChildRun

_TEST = ("accuracy", "macro_f1", "macro_recall", "min_recall")
_HEADER = {
    "variant": "variant",
    "val_accuracy": "val accuracy",
    "best_val_accuracy": "best",
    "val_loss": "val loss",
    "test_accuracy": "test accuracy",
    "test_macro_f1": "macro F1",
    "test_macro_recall": "macro recall",
    "test_min_recall": "lowest recall",
    "seconds": "seconds",
    "images_per_second": "images/s",
    "note": "",
}
_WHOLE = ("seconds", "images_per_second")
_HUGE = 1e7  # from here on, numbers are written with an exponent


@dataclass(frozen=True)
class Row:
    """Results of a variant.

    Attributes:
        variant: Its name.
        trials: Its trainings, including failed ones.
        mean: Name -> mean over the trainings that have a model; empty if none has.
        std: Name -> sample standard deviation over them; empty if there are fewer than two.
        recall: Mean recall of each class on the test split; empty if it was not measured.
    """

    variant: str
    trials: tuple[ChildRun, ...]
    mean: Mapping[str, float]
    std: Mapping[str, float]
    recall: tuple[float, ...] = ()

    @property
    def failure(self) -> str:
        """Return why trainings have no model; empty if all have one."""
        failed = [trial for trial in self.trials if trial.status != "FINISHED"]
        if not failed:
            return ""
        many = f"{len(failed)} of {len(self.trials)} " if len(self.trials) > 1 else ""
        return f"{many}{failed[0].status.lower()}: {failed[0].failure or 'it did not end'}"

    def plain(self) -> dict[str, Any]:
        """Return values for JSON; numbers that are not finite become null."""
        values = {"variant": self.variant, "trainings": len(self.trials), **self.mean}
        values |= {f"{name}_std": value for name, value in self.std.items()}
        values |= {"run_ids": [trial.run_id for trial in self.trials], "failure": self.failure or None}
        return _finite(values)


def rows_of(trials: Sequence[ChildRun], variants: Sequence[str]) -> list[Row]:
    """Return a row for each variant with at least one training, in the order of the variants."""
    rows = []
    for variant in variants:
        own = tuple(trial for trial in trials if trial.variant == variant)
        figures = [_figures(trial) for trial in own if trial.status == "FINISHED" and trial.history]
        names = list(figures[0]) if figures else []
        columns = {name: np.array([of[name] for of in figures if name in of]) for name in names}
        mean = {name: float(values.mean()) for name, values in columns.items()}
        std = {name: float(values.std(ddof=1)) for name, values in columns.items() if len(values) > 1}
        recall = [trial.recall for trial in own if trial.recall]
        if own:
            rows.append(Row(variant, own, mean, std, tuple(np.mean(recall, axis=0).tolist()) if recall else ()))
    return rows


def _figures(trial: ChildRun) -> dict[str, float]:
    """Return a training's results: of its last and best epoch, of the test, and its duration."""
    last = trial.history[-1]
    accuracies = [epoch["val_accuracy"] for epoch in trial.history]
    best = int(np.nanargmax(accuracies)) if np.isfinite(accuracies).any() else len(accuracies) - 1
    # Epochs have equal length: the rate over all of them is the harmonic mean of their rates.
    rate = len(trial.history) / sum(1 / epoch["images_per_second"] for epoch in trial.history)
    return {
        "epochs": float(len(trial.history)),
        "loss": last["loss"],
        "accuracy": last["accuracy"],
        "val_loss": last["val_loss"],
        "val_accuracy": last["val_accuracy"],
        "best_val_accuracy": accuracies[best],
        "best_epoch": best + 1.0,
        **{f"test_{name}": trial.test[name] for name in _TEST if name in trial.test},
        "seconds": trial.seconds,
        "images_per_second": rate,
    }


def cells(rows: Sequence[Row]) -> tuple[list[list[str]], list[str]]:
    """Return (cells, header) of the table; columns without any value are left out."""
    written: dict[str, Callable[[Row], str]] = {"variant": lambda row: row.variant, "note": lambda row: row.failure}
    for name in _HEADER.keys() - written.keys():
        written[name] = functools.partial(_with_spread, name=name, digits=0 if name in _WHOLE else 4)
    columns = {name: [written[name](row) for row in rows] for name in _HEADER}
    shown = [name for name in _HEADER if any(columns[name])]
    table = [list(line) for line in zip(*(columns[name] for name in shown), strict=True)]
    return table, [_HEADER[name] for name in shown]


def _with_spread(row: Row, name: str, digits: int) -> str:
    if name not in row.mean:
        return ""
    values = [row.mean[name], *([row.std[name]] if name in row.std else [])]
    return " ± ".join(f"{value:.3g}" if value > _HUGE else f"{value:,.{digits}f}" for value in values)


def as_markdown(rows: Sequence[Row]) -> str:
    """Format the table as Markdown."""
    table, header = cells(rows)
    lines = [header, ["---"] * len(header), *table]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def as_csv(rows: Sequence[Row]) -> str:
    """Format the trainings as CSV, a line for each."""
    lines = []
    for row in rows:
        for trial in row.trials:
            figures = _figures(trial) if trial.status == "FINISHED" and trial.history else {}
            named = {"variant": row.variant, "seed": trial.seed, "run_id": trial.run_id, "status": trial.status}
            lines.append({**named, **figures, "failure": trial.failure})
    names = dict.fromkeys(name for line in sorted(lines, key=len, reverse=True) for name in line)
    file = io.StringIO()
    writer = csv.DictWriter(file, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def as_json(rows: Sequence[Row]) -> str:
    """Format all results as JSON, with the epochs of every training."""
    values = [{**row.plain(), "trials": [asdict(trial) for trial in row.trials]} for row in rows]
    return json.dumps(_finite({"variants": values}), indent=1)


def _finite(value: Any) -> Any:
    """Replace numbers that JSON cannot represent by null."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
