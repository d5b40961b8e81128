"""Records of trials, the best one, and the limits of a study. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from convoy.config import TuneConfig

State = Literal["complete", "pruned", "failed", "running"]


@dataclass(frozen=True)
class TrialResult:
    """Record of a trial.

    Attributes:
        number: Number, from 0.
        values: Field -> value, of the parameters that were tried.
        state: Its state.
        value: The metric of the weights that are kept; None unless the trial is complete.
        epochs: Number of trained epochs.
        seconds: Duration, so far if it is running.
        run_id: MLflow's id; empty if it has no run.
        model_uri: URI of its model; empty if it has none.
        reason: Why it failed or was pruned; else empty.
    """

    number: int
    values: Mapping[str, Any]
    state: State
    value: float | None = None
    epochs: int = 0
    seconds: float = 0.0
    run_id: str = ""
    model_uri: str = ""
    reason: str = ""


def best_of(trials: Sequence[TrialResult], *, rising: bool) -> TrialResult | None:
    """Return the trial with the best value, the first of equal ones, or None if no trial has a value."""
    sign = -1.0 if rising else 1.0
    with_value = [one for one in trials if one.value is not None]
    return min(with_value, key=lambda one: (sign * (one.value or 0.0), one.number), default=None)


def since_best(trials: Sequence[TrialResult], *, rising: bool) -> int:
    """Count the finished trials that began after the best one; all of them if there is no best one."""
    ended = [one for one in trials if one.state != "running"]
    best = best_of(ended, rising=rising)
    return len(ended) if best is None else sum(one.number > best.number for one in ended)


def reason_to_end(config: TuneConfig, trials: Sequence[TrialResult], seconds: float) -> str | None:
    """Return why no further trial begins, or None if one may.

    Args:
        config: Section ``tune``.
        trials: All trials, including running ones.
        seconds: Time since the job began.
    """
    if config.trials is not None and len(trials) >= config.trials:
        return f"tune.trials, {config.trials}"
    if config.minutes is not None and seconds >= 60 * config.minutes:
        return f"tune.minutes, {config.minutes:g}"
    without = since_best(trials, rising=config.metric == "val_accuracy")
    if config.patience is not None and without >= config.patience:
        return f"tune.patience: no new best in {without} trials"
    return None
