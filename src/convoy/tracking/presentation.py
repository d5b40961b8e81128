"""Names of runs, their listed settings, and names of metrics on MLflow's pages. Pure."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from convoy.config import Config
from convoy.config.optimizer import configured_rate

SYSTEM = "system/"
"""Prefix of the metrics on the tab "System metrics"."""
LAYERS = ("dead_units", "gradient_norm")
"""Kinds of metrics that training logs for each layer, as ``<kind>/<layer>``."""

_SECTIONS = ("model", "training")
_RATE, _PLACES = "training.optimizer.learning_rate", ("training.checkpoint.folder",)
_OF_DATASET = ("name", "version", "image")  # the others are ingest's, and in the manifest


def run_name(config: Config) -> str:
    """Return the name of a training's run from its settings, e.g. ``lenet5-digits-adam-0.002``."""
    optimizer = config.training.optimizer
    return f"{config.model.name}-{config.dataset.name}-{optimizer.name}-{configured_rate(optimizer):g}"


def parameters(config: Config, section: str | None = None) -> dict[str, str]:
    """Return the settings that shape what is trained, named as on the command line.

    Settings that are null are left out, except the learning rate, which is then the optimizer's default. Settings of
    other jobs and mere locations are left out as well. ``config.yaml`` has all of them.

    Args:
        config: The configuration.
        section: A further section to list, e.g. ``experiment``.
    """
    values = dataclasses.asdict(config)
    shown = {name: values[name] for name in (*_SECTIONS, *filter(None, [section]))}
    shown["dataset"] = {name: values["dataset"][name] for name in _OF_DATASET}
    flat = flatten(shown) | {_RATE: configured_rate(config.training.optimizer)}
    return {name: str(value) for name, value in flat.items() if value not in (None, {}) and name not in _PLACES}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to one level of dotted names; empty mappings are unchanged."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def metric_name(name: str) -> str:
    """Return the name of a metric in MLflow.

    MLflow's pages draw metrics with a slash in separate sections, before those without, and only ``system/...`` after
    them. So that loss and accuracy come first, ``rank_0/step_ms`` and ``gradient_norm/c1`` become
    ``system/rank_0_step_ms`` and ``system/gradient_norm_c1``.
    """
    return SYSTEM + name.removeprefix(SYSTEM).replace("/", "_") if "/" in name else name


def layer_metric(name: str) -> str | None:
    """Return training's name of a layer's metric from its name in MLflow; None for all other metrics."""
    for kind in LAYERS:
        if name.startswith(f"{SYSTEM}{kind}_"):
            return f"{kind}/{name.removeprefix(f'{SYSTEM}{kind}_')}"
    return None
