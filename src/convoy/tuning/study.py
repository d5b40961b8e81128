"""A study: its trials, and the next values to try. Wraps Optuna."""

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from convoy.config import TuneConfig
from convoy.tuning.parameter import Parameter
from convoy.tuning.space import grid_of
from convoy.tuning.trials import State, TrialResult, best_of

_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
_PARENT, _RESULT, _KILLED = "convoy.run_id", "convoy.result", "convoy.killed"


class Study:
    """A study in its storage; only one thread at a time may call it.

    Args:
        study: Optuna's study.
        config: Section ``tune``.
        parameters: The space.
        epochs: Most epochs of a trial.
    """

    def __init__(self, study: optuna.Study, config: TuneConfig, parameters: Sequence[Parameter], epochs: int) -> None:
        self._study, self._config, self._parameters = study, config, parameters
        self._trials: dict[int, optuna.Trial] = {}
        self._study.pruner = _pruner(config, epochs)
        self.name, self.rising = study.study_name, config.metric == "val_accuracy"

    @property
    def run_id(self) -> str | None:
        """Return the id of the parent run."""
        found: str | None = self._study.user_attrs.get(_PARENT)
        return found

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        self._study.set_user_attr(_PARENT, run_id)

    @property
    def result(self) -> dict[str, Any]:
        """Return the result for the best trial, if an earlier start has stored it."""
        return dict(self._study.user_attrs.get(_RESULT, {}))

    @result.setter
    def result(self, result: Mapping[str, Any]) -> None:
        self._study.set_user_attr(_RESULT, dict(result))

    def trials(self) -> list[TrialResult]:
        """Return all trials in their order, except those that a killed driver left: they are tried again."""
        return [_tried(one, self._parameters) for one in self._counted() if one.state in _STATES]

    def _counted(self) -> list[FrozenTrial]:
        killed = self._study.user_attrs.get(_KILLED, [])
        return [one for one in self._study.get_trials(deepcopy=False) if one.number not in killed]

    def best(self) -> TrialResult | None:
        """Return the complete trial with the best value, the first of equal ones, or None if no trial is complete."""
        complete = [one for one in self.trials() if one.value is not None]
        return best_of(complete, rising=self.rising)

    def revive(self) -> int:
        """Exclude the trials that a killed driver left, and queue their values again; return their number."""
        left = [one for one in self._study.get_trials(deepcopy=False) if one.state == TrialState.RUNNING]
        for one in left:
            self._study.set_user_attr(_KILLED, [*self._study.user_attrs.get(_KILLED, []), one.number])
            if one.params:
                self._study.enqueue_trial(dict(one.params))
            self._study.tell(one.number, state=TrialState.FAIL)
        return len(left)

    def ask(self) -> TrialResult | None:
        """Begin a trial; return None if a grid has no values left."""
        if self._config.sampler == "grid" and not self._study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
            missing = self._next_of_grid()
            if missing is None:
                return None
            self._study.enqueue_trial(missing)
        # A separate sampler for each trial: its draws depend only on the seed and the trials, also after a restart.
        seed = np.random.SeedSequence([self._config.seed, len(self._study.get_trials(deepcopy=False))])
        self._study.sampler = _sampler(self._config, int(seed.generate_state(1)[0]))
        trial = self._study.ask()
        values: dict[str, Any] = {}
        for one in self._parameters:
            if one.active(values):
                values[one.name] = _from_stored(one, _suggested(trial, one))
        self._trials[trial.number] = trial
        return TrialResult(trial.number, values, "running")

    def _next_of_grid(self) -> dict[str, Any] | None:
        taken = [_tried(one, self._parameters).values for one in self._counted()]
        for values in grid_of(self._parameters):
            if values not in taken:
                return {one.name: _stored(one, values[one.name]) for one in self._parameters if one.name in values}
        return None

    def note(self, number: int, **attributes: str) -> None:
        """Store texts (``run_id``, ``model_uri``, ``reason``) with a running trial."""
        for name, value in attributes.items():
            self._trials[number].set_user_attr(name, value)

    def report(self, number: int, epoch: int, value: float) -> bool:
        """Report the metric after an epoch, from 0; return whether to prune the trial."""
        trial = self._trials[number]
        trial.report(value, epoch + 1)
        return bool(trial.should_prune())

    def tell(self, number: int, state: State, value: float | None = None) -> TrialResult:
        """End a trial."""
        known = {name: stored for stored, name in _STATES.items()}
        self._study.tell(self._trials.pop(number), value, known[state])
        return next(one for one in self.trials() if one.number == number)

    def importances(self) -> dict[str, float]:
        """Return each parameter's share of the value's variation (PED-ANOVA), largest first; empty for few trials."""
        complete = [one for one in self.trials() if one.value is not None]
        if len(complete) < 4 or len({one.value for one in complete}) < 2:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about experimental methods
            return dict(optuna.importance.get_param_importances(self._study))


def _suggested(trial: optuna.Trial, parameter: Parameter) -> Any:
    name, low, high, step = parameter.name, parameter.low, parameter.high, parameter.step
    if parameter.choices:
        return trial.suggest_categorical(name, [_stored(parameter, choice) for choice in parameter.choices])
    if parameter.whole:
        return trial.suggest_int(name, int(low), int(high), log=parameter.log, step=int(step or 1))
    return trial.suggest_float(name, low, high, log=parameter.log, step=step)


def _stored(parameter: Parameter, value: Any) -> Any:
    """Convert a value for the storage: choices that are lists or mappings become JSON."""
    plain = value is None or isinstance(value, bool | int | float | str) or not parameter.choices
    return value if plain else json.dumps(value)


def _from_stored(parameter: Parameter, stored: Any) -> Any:
    """Return the inverse of ``_stored``."""
    return next((choice for choice in parameter.choices if _stored(parameter, choice) == stored), stored)


def _tried(trial: FrozenTrial, parameters: Sequence[Parameter]) -> TrialResult:
    attributes = {name: trial.user_attrs.get(name, "") for name in ("run_id", "model_uri", "reason")}
    known = trial.params or trial.system_attrs.get("fixed_params", {})
    values = {one.name: _from_stored(one, known[one.name]) for one in parameters if one.name in known}
    duration = trial.duration
    return TrialResult(
        trial.number,
        values,
        _STATES.get(trial.state, "running"),
        trial.value if trial.state == TrialState.COMPLETE else None,
        len(trial.intermediate_values),
        duration.total_seconds() if duration else 0.0,
        **attributes,
    )


def _sampler(config: TuneConfig, seed: int) -> optuna.samplers.BaseSampler:
    random = optuna.samplers.RandomSampler(seed=seed)
    if config.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)  # takes running trials into account
    if config.sampler == "cmaes":
        return optuna.samplers.CmaEsSampler(seed=seed, independent_sampler=random, warn_independent_sampling=False)
    return random  # a grid's values are queued


def _pruner(config: TuneConfig, epochs: int) -> optuna.pruners.BasePruner:
    if config.pruner == "median":
        return optuna.pruners.MedianPruner()
    if config.pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1)
    if config.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs)
    return optuna.pruners.NopPruner()
