"""Storage of studies: a study is open in one process at a time, and only resumed with the same settings."""

import fcntl
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import optuna

from convoy.config import Config
from convoy.errors import ConfigError
from convoy.tuning.parameter import SAME_FOR_ALL, Parameter
from convoy.tuning.study import Study

_SQLITE = "sqlite:///"
_IDENTITY = "convoy.identity"


@contextmanager
def open_study(config: Config, parameters: Sequence[Parameter], fingerprint: str) -> Iterator[Study]:
    """Open or create the study in its storage; in a file, no other process can have the study open.

    Args:
        config: The configuration.
        parameters: Parameters of ``tune.space``.
        fingerprint: Fingerprint of the dataset.

    Raises:
        ConfigError: The storage cannot be opened, another process has the study, or the study has other settings.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tune = config.tune
    name = tune.study or config.tracking.experiment
    storage = tune.storage
    if storage.startswith(_SQLITE):
        storage = _SQLITE + os.path.abspath(os.path.expanduser(storage.removeprefix(_SQLITE)))
    with _alone(storage, name), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        try:
            direction: Literal["maximize", "minimize"] = "maximize" if tune.metric == "val_accuracy" else "minimize"
            study = optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigError(f"tune.storage {tune.storage!r} cannot be opened: {reason[0]}") from None
        own = identity(config, parameters, fingerprint)
        if _IDENTITY not in study.user_attrs:
            study.set_user_attr(_IDENTITY, json.dumps(own))
        check_identity(json.loads(study.user_attrs[_IDENTITY]), own, f"study {name!r} in {tune.storage}")
        epochs = [one.extremes for one in parameters if one.name == "training.epochs"]
        yield Study(study, tune, parameters, max(epochs[0]) if epochs else config.training.epochs)


@contextmanager
def _alone(storage: str, name: str) -> Iterator[None]:
    if not storage.startswith(_SQLITE):
        yield
        return
    file = Path(storage.removeprefix(_SQLITE))
    lock = file.with_name(f".{file.name}.{quote(name, safe='')}.lock")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        opened = lock.open("ab")
    except OSError as error:
        raise ConfigError(f"tune.storage {storage!r} cannot be written to: {error.strerror}; choose another") from None
    with opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"study {name!r} in {storage} is in use by another process; wait for it, or give this one"
                " another name: --tune.study"
            ) from None
        yield


def identity(config: Config, parameters: Sequence[Parameter], fingerprint: str) -> dict[str, Any]:
    """Return the identity of a study: its space, its metric, its data, and the settings common to all trials."""
    searched = {one.name for one in parameters if not one.when}
    fixed: dict[str, Any] = {}

    def flatten(prefix: str, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            field = f"{prefix}.{name}"
            if isinstance(value, dict) and value:
                flatten(field, value)
            elif field not in searched and not any(field == one or field.startswith(one) for one in SAME_FOR_ALL):
                fixed[field] = value

    for section in ("model", "training"):
        flatten(section, asdict(getattr(config, section)))
    space = {f"tune.space of {one.name}": one.plain() for one in sorted(parameters, key=lambda one: one.name)}
    found = {**space, "tune.metric": config.tune.metric, "dataset.fingerprint": fingerprint, **fixed}
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def check_identity(stored: Mapping[str, Any], own: Mapping[str, Any], what: str) -> None:
    """Raise ``ConfigError`` with the first difference between a stored study and the current settings."""
    for name in dict.fromkeys([*own, *stored]):
        if stored.get(name) != own.get(name):
            was, now = (repr(of[name]) if name in of else "nothing" for of in (stored, own))
            raise ConfigError(
                f"{what} has other settings: its {name} is {was}, but here it is {now}; give this one another name,"
                " --tune.study, or use the settings of that one"
            )
