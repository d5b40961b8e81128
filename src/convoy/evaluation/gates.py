"""Acceptance criteria of a model: a line of text each, checked against its evaluation. Pure."""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from convoy.errors import ConfigError, did_you_mean
from convoy.evaluation.mcnemar import ALPHA, mcnemar
from convoy.evaluation.metrics import PER_CLASS, UNBOUNDED, Evaluation, Outcomes, overall_names

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
# Names of classes may contain brackets and comparison signs: the last comparison in the text counts.
_THRESHOLD = re.compile(
    r"\s*(?P<metric>\w+)\s*(?:\[(?P<name>.*)\])?\s*(?P<sign>>=|<=|>|<)\s*(?P<bound>[^\s<>=]+)\s*", re.S
)
_NOT_WORSE = re.compile(r"\s*not\s+worse\s+than\s+(?P<uri>\S+)\s*")
_EXPECTED = "expected e.g. 'accuracy >= 0.98', 'f1[<class>] >= 0.95' or 'not worse than models:/<name>@champion'"


@dataclass(frozen=True)
class Threshold:
    """A metric has to be on one side of a bound.

    Attributes:
        text: The gate as written.
        metric: Name of the metric.
        class_index: Index of the class; None for metrics of the whole split.
        sign: ``>=``, ``<=``, ``>`` or ``<``.
        bound: The bound.
    """

    text: str
    metric: str
    class_index: int | None
    sign: str
    bound: float


@dataclass(frozen=True)
class NotWorse:
    """The model must not be worse than another on the same samples, by McNemar's test.

    Attributes:
        text: The gate as written.
        uri: The other model.
    """

    text: str
    uri: str


Gate = Threshold | NotWorse


@dataclass(frozen=True)
class Finding:
    """Result of a gate.

    Attributes:
        gate: The gate as written.
        passed: Whether the model passed it.
        found: The measured value, in words.
    """

    gate: str
    passed: bool
    found: str


def parse_gates(texts: Sequence[str] | None, classes: Sequence[str], top_k: int) -> list[Gate]:
    """Parse ``evaluation.gates``.

    Args:
        texts: The gates; None is an empty list.
        classes: Names of the dataset's classes.
        top_k: k of the top-k accuracy.

    Raises:
        ConfigError: A text is not a gate, or has an unknown metric or class; the message names the nearest one.
    """
    return [_parse(text, classes, overall_names(top_k)) for text in texts or ()]


def _parse(text: str, classes: Sequence[str], overall: Sequence[str]) -> Gate:
    if match := _NOT_WORSE.fullmatch(text):
        return NotWorse(text.strip(), match["uri"])
    match = _THRESHOLD.fullmatch(text)
    if match is None:
        raise ConfigError(f"evaluation.gates: {text!r} is not a gate; {_EXPECTED}")
    metric, name = match["metric"], match["name"]
    if metric not in overall and metric not in PER_CLASS:
        raise ConfigError(
            f"evaluation.gates: {text!r}: there is no metric {metric!r}; expected one of"
            f" {', '.join([*overall, *(f'{each}[<class>]' for each in PER_CLASS)])}"
            f"{did_you_mean(metric, [*overall, *PER_CLASS])}"
        )
    if metric in PER_CLASS and name is None:
        raise ConfigError(
            f"evaluation.gates: {text!r}: {metric} needs a class; expected {metric}[{classes[0]}] or macro_{metric}"
        )
    if metric in overall and name is not None:
        raise ConfigError(f"evaluation.gates: {text!r}: {metric} takes no class; expected it without [{name}]")
    if name is not None and name not in classes:
        known = f"; it has {', '.join(classes)}" if len(classes) <= 20 else ""
        nearest = did_you_mean(name, classes)
        raise ConfigError(f"evaluation.gates: {text!r}: the dataset has no class {name!r}{known}{nearest}")
    bound = _bound(text, match["bound"], metric)
    return Threshold(text.strip(), metric, None if name is None else list(classes).index(name), match["sign"], bound)


def _bound(text: str, given: str, metric: str) -> float:
    try:
        bound = float(given)
    except ValueError:
        bound = math.nan
    most = math.inf if metric in UNBOUNDED else 1.0
    if not (0 <= bound <= most and math.isfinite(bound)):
        expected = "a number from 0" if metric in UNBOUNDED else "a number from 0 to 1"
        raise ConfigError(f"evaluation.gates: {text!r}: the bound is {given!r}; expected {expected}")
    return bound


def judge(
    gates: Sequence[Gate], evaluation: Evaluation, outcomes: Outcomes, others: Mapping[str, np.ndarray | None]
) -> list[Finding]:
    """Check a model against the gates.

    Args:
        gates: The gates.
        evaluation: The metrics of the model.
        outcomes: The predictions of the model for N samples.
        others: For each ``NotWorse``, by its URI: int (N,), the other model's predictions for the same samples; None
            if that model does not exist yet.
    """
    return [
        _reached(gate, evaluation) if isinstance(gate, Threshold) else _compared(gate, outcomes, others[gate.uri])
        for gate in gates
    ]


def _reached(gate: Threshold, evaluation: Evaluation) -> Finding:
    if gate.class_index is None:
        value = evaluation.overall()[gate.metric]
    else:
        value = float(getattr(evaluation, gate.metric)[gate.class_index])
    return Finding(gate.text, _COMPARISONS[gate.sign](value, gate.bound), f"it is {value:.6g}")


def _compared(gate: NotWorse, outcomes: Outcomes, other: np.ndarray | None) -> Finding:
    if other is None:
        return Finding(gate.text, True, "that model does not exist yet")
    test = mcnemar(outcomes.right, other == outcomes.labels)
    found = (
        f"of {len(outcomes):,} samples, only that model is right on {test.lost:,} and only this one on {test.won:,}:"
        f" p = {test.p_value:.3g}, {'below' if test.worse else 'not below'} {ALPHA}"
    )
    return Finding(gate.text, not test.worse, found)
