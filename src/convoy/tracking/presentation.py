"""What a run is called on MLflow's pages, which of its settings they list, and where they draw its metrics. Pure."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from convoy.config import Config
from convoy.config.optimizer import configured_rate

SYSTEM = "system/"
"""Metrics that begin so are on the tab "System metrics"."""
LAYERS = ("dead_units", "gradient_norm")
"""Kinds of metrics that training has of each layer, as ``<kind>/<layer>``."""

_SECTIONS = ("model", "training")
_RATE, _PLACES = "training.optimizer.learning_rate", ("training.checkpoint.folder",)
_OF_DATASET = ("name", "version", "image")  # the others are ingest's, and in the manifest


def run_name(config: Config) -> str:
    """Name of a training's run: network, dataset, optimizer and learning rate, e.g. ``lenet5-digits-adam-0.002``."""
    optimizer = config.training.optimizer
    return f"{config.model.name}-{config.dataset.name}-{optimizer.name}-{configured_rate(optimizer):g}"


def parameters(config: Config, section: str | None = None) -> dict[str, str]:
    """The settings that shape what is trained, named as on the command line.

    What is null is left out, but for the learning rate, which is the optimizer's usual one then; and so is what other
    jobs read, or what only says where things are. ``config.yaml`` has all of it.

    Args:
        config: The configuration.
        section: One that is listed too, e.g. ``experiment``.
    """
    values = dataclasses.asdict(config)
    shown = {name: values[name] for name in (*_SECTIONS, *filter(None, [section]))}
    shown["dataset"] = {name: values["dataset"][name] for name in _OF_DATASET}
    flat = flatten(shown) | {_RATE: configured_rate(config.training.optimizer)}
    return {name: str(value) for name, value in flat.items() if value not in (None, {}) and name not in _PLACES}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into one level of dotted names; empty mappings stay as they are."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def metric_name(name: str) -> str:
    """The name under which MLflow has a metric.

    Its pages draw metrics with a slash in sections of their own, before those without, and only ``system/...`` after
    them. So that loss and accuracy come first, ``rank_0/step_ms`` and ``gradient_norm/c1`` become
    ``system/rank_0_step_ms`` and ``system/gradient_norm_c1``.
    """
    return SYSTEM + name.removeprefix(SYSTEM).replace("/", "_") if "/" in name else name


def layer_metric(name: str) -> str | None:
    """The metric of a layer whose name in MLflow this is, as training has it; None for all others."""
    for kind in LAYERS:
        if name.startswith(f"{SYSTEM}{kind}_"):
            return f"{kind}/{name.removeprefix(f'{SYSTEM}{kind}_')}"
    return None
