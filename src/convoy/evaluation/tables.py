"""An evaluation as tables and as JSON."""

from collections.abc import Sequence
from typing import Any

from convoy.console import Table
from convoy.evaluation.bootstrap import LEVEL, Intervals
from convoy.evaluation.gates import Finding
from convoy.evaluation.metrics import PER_CLASS, Evaluation

_MOST_CLASSES = 50


def summary_of(
    found: Evaluation, intervals: Intervals | None, classes: Sequence[str], findings: Sequence[Finding]
) -> list[str | Table]:
    """Return tables for people, of the classes and of the whole split, and a line for each gate."""
    per_class = Table(
        _class_rows(found, intervals, classes), ["class", *PER_CLASS, "support"], align="<" + ">" * len(PER_CLASS) + ">"
    )
    header = ["metric", "value", *([f"{LEVEL:.0%} interval"] * bool(intervals))]
    gates = [f"gate {'passed' if each.passed else 'failed'}: {each.gate}: {each.found}" for each in findings]
    return [per_class, "", Table(_overall_rows(found, intervals), header), *gates]


def _overall_rows(found: Evaluation, intervals: Intervals | None) -> list[list[str]]:
    values = found.overall()
    if intervals is None:
        return [[name, f"{value:.4f}"] for name, value in values.items()]
    ends = intervals.overall
    return [[name, f"{value:.4f}", "{:.4f} to {:.4f}".format(*ends[name])] for name, value in values.items()]


def _class_rows(found: Evaluation, intervals: Intervals | None, classes: Sequence[str]) -> list[list[str]]:
    def cell(metric: str, index: int) -> str:
        value = f"{getattr(found, metric)[index]:.4f}"
        if intervals is None:
            return value
        low, high = intervals.per_class[metric][:, index]
        return f"{value} ({low:.2f} to {high:.2f})"

    rows = [
        [name, *(cell(metric, i) for metric in PER_CLASS), f"{found.support[i]:,}"]
        for i, name in enumerate(classes[:_MOST_CLASSES])
    ]
    more = len(classes) - _MOST_CLASSES
    return rows + [[f"... and {more:,} more", "", "", "", ""]] * (more > 0)


def as_fields(found: Evaluation, intervals: Intervals | None) -> dict[str, Any]:
    """Return the fields of the job's JSON line."""
    ends = {} if intervals is None else {"intervals": {name: list(ends) for name, ends in intervals.overall.items()}}
    return {"rows": found.rows, **found.overall(), **ends}


def as_documents(found: Evaluation, intervals: Intervals | None, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the JSON documents to log beside the table of the classes: name of a file -> its content."""
    metrics: dict[str, Any] = {"rows": found.rows, "metrics": found.overall()}
    if intervals is not None:
        metrics["intervals"] = {
            "level": LEVEL,
            "resamples": intervals.resamples,
            "overall": intervals.overall,
            "per_class": {name: ends.tolist() for name, ends in intervals.per_class.items()},
        }
    return {"metrics.json": metrics, "gates.json": [vars(each) for each in findings]}
