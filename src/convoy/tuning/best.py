"""What becomes of the best trial: its model is kept, registered, or trained once more."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from convoy.config import Config, TuneConfig
from convoy.console import say
from convoy.errors import ConfigError, TrainingError
from convoy.tracking import registry
from convoy.tuning.board import say_best
from convoy.tuning.runner import Setting
from convoy.tuning.space import applied
from convoy.tuning.study import Study
from convoy.tuning.trials import Tried

Train = Callable[[Config, Mapping[str, str]], Mapping[str, Any]]
"""Takes a configuration and the run's tags; returns ``run_id``, ``model_uri`` and ``model_version`` at least."""

_STATES = ("complete", "pruned", "failed")


def check_best(config: Config) -> None:
    """Raise ``ConfigError`` where the best model has to be registered and has no name."""
    if config.tune.best != "keep" and config.tracking.registered_model is None:
        raise ConfigError(
            f"tune.best is {config.tune.best!r}, but tracking.registered_model is null; give a name, e.g."
            " --tracking.registered_model digits, or take --tune.best keep"
        )


def crown(setting: Setting, study: Study, train: Train) -> dict[str, Any]:
    """Make of the best trial what ``tune.best`` says, once; returns fields of the job's result.

    Raises:
        TrainingError: No trial is complete.
    """
    trials, best, config = study.trials(), study.best(), setting.config
    if best is None:
        reasons = [one.reason for one in trials if one.state == "failed"]
        why = f"; the last says: {reasons[-1]}" if reasons else ""
        raise TrainingError(f"none of {len(trials)} trials is complete{why}")
    say_best(best, config.tune.metric)
    done = study.result
    if (done.get("trial"), done.get("best")) != (best.number, config.tune.best):
        done = {"trial": best.number, "best": config.tune.best, **_made(setting, best, train)}
        study.result = done
    return {
        "study": study.name,
        "trials": len(trials),
        **{state: sum(one.state == state for one in trials) for state in _STATES},
        "metric": config.tune.metric,
        "best": {"trial": best.number, "run_id": best.run_id, "value": best.value, "fields": dict(best.values)},
        "model_uri": done["model_uri"],
        "model_version": done["model_version"],
    }


def _made(setting: Setting, best: Tried, train: Train) -> dict[str, Any]:
    config = setting.config
    name = config.tracking.registered_model
    if config.tune.best == "keep" or name is None:
        return {"model_uri": best.model_uri, "model_version": None}
    if config.tune.best == "register":
        version = registry.register(best.model_uri, name, best.run_id)
        say(f"registered: trial {best.number} is models:/{name}/{version}")
        return {"model_uri": f"models:/{name}/{version}", "model_version": version}
    say(f"trial {best.number} is trained again")
    again = applied(replace(config, tune=TuneConfig()), best.values)
    trained = train(again, setting.parent.tags_of_trial(None, f"best (trial {best.number})"))
    say(f"registered: {trained['model_uri']}, {config.tune.metric} {trained[config.tune.metric]:.4f}")
    return {name: trained[name] for name in ("model_uri", "model_version")}
