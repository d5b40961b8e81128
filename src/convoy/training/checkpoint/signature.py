"""Settings that a resumed run must share with its checkpoint. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from convoy.config import ModelConfig, TrainingConfig
from convoy.config.optimizer import configured_rate
from convoy.errors import TrainingError

_MAY_CHANGE = {
    "model": ("strict_geometry",),  # only checks
    "training": (
        *("epochs", "num_workers", "elastic", "min_workers", "max_restarts", "stall_timeout"),
        *("early_stopping", "checkpoint", "horovod", "resume", "find_learning_rate"),
    ),
}
# Settings that checkpoints of versions before 1.0 do not contain, apart from the optimizer's name.
_NOT_BEFORE_1 = ("training.optimizer.", "training.schedule.", "training.label_smoothing", "training.reader")


def resume_signature(config: TrainingConfig, model: ModelConfig, fingerprint: str) -> dict[str, Any]:
    """Return the settings that identify a run: data, network, order of samples, loss and optimizer.

    Args:
        config: Section ``training``.
        model: Section ``model``.
        fingerprint: Fingerprint of the dataset version.

    Returns:
        JSON values by the name of the field, e.g. ``training.optimizer.momentum``.
    """
    found: dict[str, Any] = {"dataset.fingerprint": fingerprint}
    for section, values in (("model", asdict(model)), ("training", asdict(config))):
        found |= {f"{section}.{name}": value for name, value in values.items() if name not in _MAY_CHANGE[section]}
    plain: dict[str, Any] = _flat(json.loads(json.dumps(found)))
    plain["training.optimizer.learning_rate"] = configured_rate(config.optimizer)
    return plain


def check_signature(saved: Mapping[str, Any], signature: Mapping[str, Any], what: str) -> None:
    """Raise ``TrainingError``, naming the first difference, if a checkpoint has other data or settings.

    A field that the checkpoint does not contain is newer than it, and has to have its default.

    Args:
        saved: The signature in the checkpoint.
        signature: That of the current configuration.
        what: The checkpoint, for messages.
    """
    saved = _flat(saved)
    defaults = resume_signature(TrainingConfig(), ModelConfig(), "")
    old = "training.optimizer.learning_rate" not in saved
    for name, value in signature.items():
        if old and name not in saved and name.startswith(_NOT_BEFORE_1):
            continue
        was = saved.get(name, defaults.get(name))
        if was != value:
            raise TrainingError(
                f"{what} was trained with {name} {was!r}, not {value!r}; resume it with that, or start a new run from"
                " its weights: model.initial_weights"
            )
    if unknown := sorted(saved.keys() - signature.keys()):
        raise TrainingError(
            f"{what} was trained with {unknown[0]} {saved[unknown[0]]!r}, which this version of Convoy does not have;"
            " resume it with the version that trained it"
        )


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace objects by their fields: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat({f"{name}.{key}": one for key, one in value.items()})
        else:
            flat[name] = value
    return flat
