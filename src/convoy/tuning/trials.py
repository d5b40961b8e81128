"""What is known of trials, which is the best, and when there are enough. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from convoy.config import TuneConfig

State = Literal["complete", "pruned", "failed", "running"]


@dataclass(frozen=True)
class TrialResult:
    """What is known of a trial.

    Attributes:
        number: From 0.
        values: Field -> value, of the parameters that were tried.
        state: What came of it.
        value: The metric, of the weights that are kept; None but for those that are complete.
        epochs: How many were trained.
        seconds: From its begin to its end, or to now.
        run_id: MLflow's id; empty where it came to none.
        model_uri: Of its model; empty where it has none.
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
    """Return the trial with the best value, the first of equals; None where none has one."""
    sign = -1.0 if rising else 1.0
    with_value = [one for one in trials if one.value is not None]
    return min(with_value, key=lambda one: (sign * (one.value or 0.0), one.number), default=None)


def since_best(trials: Sequence[TrialResult], *, rising: bool) -> int:
    """Count the trials that ended after the best one began; all of them where there is no best."""
    ended = [one for one in trials if one.state != "running"]
    best = best_of(ended, rising=rising)
    return len(ended) if best is None else sum(one.number > best.number for one in ended)


def reason_to_end(config: TuneConfig, trials: Sequence[TrialResult], seconds: float) -> str | None:
    """Say why no other trial is to begin; None where one may.

    Args:
        config: Section ``tune``.
        trials: All there are, those that run among them.
        seconds: Since the job began.
    """
    if config.trials is not None and len(trials) >= config.trials:
        return f"tune.trials, {config.trials}"
    if config.minutes is not None and seconds >= 60 * config.minutes:
        return f"tune.minutes, {config.minutes:g}"
    without = since_best(trials, rising=config.metric == "val_accuracy")
    if config.patience is not None and without >= config.patience:
        return f"tune.patience: no new best in {without} trials"
    return None
