"""Hashes of everything that the result of a stage depends on: the data, the configuration and the code's version."""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from convoy import __version__
from convoy.config import Config
from convoy.dataset.storage import catalog
from convoy.dataset.storage.manifest import Manifest
from convoy.inference.sources import list_input
from convoy.workflows.model_facts import facts_of

_NO_INFLUENCE = ("checkpoint", "resume", "max_restarts", "stall_timeout")
_FACTS = ("preprocessing", "head", "classes", "image_size", "resize")  # of section ``scoring``
_MOST_FILES = 100_000  # of more, the sizes and times would take longer to read than is worth it

States = list[tuple[str, int, int]]
"""Path, size and time of change of each file."""


def of_training(config: Config, manifest: Manifest) -> str | None:
    """Return the signature of a training.

    Returns:
        None if the result may depend on something outside the configuration and the dataset: a network in the user's
        own code, initial weights, a resumed run, or a learning rate sweep, which trains nothing.
    """
    model, training = config.model, config.training
    if ":" in model.name or model.initial_weights or training.resume or training.find_learning_rate:
        return None
    settings = {name: value for name, value in asdict(training).items() if name not in _NO_INFLUENCE}
    tracking = config.tracking.registered_model, config.tracking.report
    if model.preprocessing == "auto" and model.layers is None:
        model = replace(model, preprocessing="dataset")  # the same
    return _hash("train", manifest.version, manifest.fingerprint, asdict(model), settings, tracking)


def of_evaluation(config: Config, model: str, manifest: Manifest) -> str:
    """Return the signature of an evaluation.

    Args:
        config: Section ``evaluation``.
        model: URI of the model, resolved to a version.
        manifest: Manifest of the dataset version.
    """
    section = {**asdict(config.evaluation), "model": model, **_facts(config)}
    return _hash("evaluate", manifest.version, manifest.fingerprint, section)


def input_states(config: Config) -> States | None:
    """Return the files that ``scoring.input`` names now; to be read before scoring, which may take hours.

    Returns:
        None if they cannot be compared cheaply: a table, a stream, a URL, more than 100,000 files.
    """
    section = config.scoring
    if section.stream or section.write_mode == "incremental" or section.output.startswith("table:"):
        return None
    files = list_input(config, _MOST_FILES)
    return None if files is None else _states(files)


def of_scoring(config: Config, model: str, inputs: States | None) -> str | None:
    """Return the signature of a scoring, with the sizes and times of its input files and of its present output files.

    Args:
        config: Sections ``scoring`` and ``dataset``.
        model: URI of the model, resolved to a version.
        inputs: The input files before the scoring.

    Returns:
        None without ``inputs``, or if there is no output.
    """
    section = config.scoring
    output = Path(section.output).expanduser()
    if inputs is None or not output.is_dir():
        return None
    dataset = None
    if str(section.input).startswith("dataset:"):
        dataset = Manifest.load(catalog.find(config.dataset.root, config.dataset.name, config.dataset.version)).version
    written = (os.path.join(output, name) for name in os.listdir(output))
    others = {name: value for name, value in asdict(section).items() if name not in _FACTS}
    return _hash("score", {**others, "model": model, **_facts(config)}, dataset, inputs, _states(written))


def _facts(config: Config) -> dict[str, Any]:
    """Return what is stated about a model that Convoy did not log; names of classes instead of their file."""
    return {f"fact.{name}": value for name, value in vars(facts_of(config.scoring)).items() if value is not None}


def _states(files: Iterable[str]) -> States:
    states: States = []
    for file in files:
        with suppress(OSError):  # it was removed meanwhile; what scores it reports that
            state = os.stat(file)
            states.append((os.path.abspath(file), state.st_size, state.st_mtime_ns))
    return sorted(states)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps([__version__, *parts], sort_keys=True, default=str).encode()).hexdigest()
