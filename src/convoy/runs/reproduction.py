"""A run trained again from its own record, and compared with it."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convoy.cli import parse
from convoy.config import Config
from convoy.console import say
from convoy.dataset import catalog
from convoy.dataset.manifest import Manifest
from convoy.errors import ConfigError, ConvoyError, DatasetError, TrackingError
from convoy.models.keras_file import load
from convoy.runs.commands import place
from convoy.runs.details import environment
from convoy.runs.difference import Environment
from convoy.runs.formats import finite
from convoy.runs.weights import LayerDifference, differing_layers, named_weights
from convoy.tracking import reading, record, store
from convoy.tracking.package import load_package
from convoy.tracking.run_record import RunRecord
from convoy.tracking.secrets import BLANK

Train = Callable[[Config, Mapping[str, str]], Mapping[str, Any]]
"""Takes a configuration and the new run's tags; returns ``run_id`` at least."""

_TAGS = (record.DATASET, record.VERSION, record.FINGERPRINT, record.WEIGHTS_SHA256)
_LISTED, _TOLD = 5, 20  # differences in an error, and in lines of their own


@dataclass(frozen=True)
class Elsewhere:
    """What may be elsewhere than it was.

    Attributes:
        root: ``dataset.root``; None is the run's.
        master: ``spark.master``; None is the run's.
    """

    root: str | None = None
    master: str | None = None


def reproduce(
    train: Train, run: str, config: str | None, uri: str | None, where: Elsewhere, strict: bool
) -> dict[str, Any]:
    """Train a run again, and compare.

    Args:
        train: Trains a configuration.
        run: Id of the run, the beginning of it, or its name.
        config: File whose ``tracking.uri`` is used.
        uri: Tracking store, instead of that.
        where: What is elsewhere now.
        strict: Refuse where code, Python or packages are not those of the run.

    Returns:
        Fields of the JSON line; ``identical`` is whether the weights are the same bit by bit.

    Raises:
        ConvoyError: The run does not say enough, its dataset is gone, or ``strict`` has something to refuse.
    """
    uri = place(config, uri).uri
    store.connect(uri)
    original = reading.find(run)
    text = recorded(original)
    again = configuration(original, text, uri, where)
    check_dataset(original, again)
    found = here_and_there(original, environment(original))
    if found and strict:
        listed = "; ".join(found[:_LISTED]) + (f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else "")
        raise TrackingError(f"run {original.run_id} cannot be reproduced strictly: {listed}; install what it had")
    for line in found[:_TOLD]:
        say(f"not as it was: {line}")
    if len(found) > _TOLD:
        say(f"not as it was: {len(found) - _TOLD} packages more")
    tags = {record.REPRODUCES: original.run_id, "mlflow.runName": f"{original.name} again"}
    new = reading.find(str(train(again, tags)["run_id"]))
    return _compared(original, new, found)


def recorded(run: RunRecord) -> str:
    """The configuration that a run was trained with, as YAML.

    Raises:
        TrackingError: The run does not say all that is needed; the message names what is missing.
    """
    text = reading.artifact_text(run, record.CONFIG)
    missing = [f"the tag {name}" for name in _TAGS if not run.tags.get(name)]
    missing += [f"the file {record.CONFIG}"] if text is None else []
    if text is None or missing:
        why = (
            "it has no trained weights" if f"the tag {record.WEIGHTS_SHA256}" in missing else "an older Convoy made it"
        )
        raise TrackingError(f"run {run.run_id} cannot be reproduced: it lacks {', '.join(missing)}; {why}")
    return text


def configuration(run: RunRecord, text: str, uri: str, where: Elsewhere) -> Config:
    """The configuration to train again with: the run's, its dataset's version, nothing registered.

    Args:
        run: The run.
        text: Its configuration, as YAML.
        uri: The tracking store.
        where: What is elsewhere now.

    Raises:
        ConfigError: This version of Convoy does not know it.
    """
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        file = Path(folder) / record.CONFIG
        file.write_text(text, encoding="utf-8")
        try:
            config = parse("reproduce", "", ["--config", str(file)])
        except ConvoyError as error:
            raise ConfigError(
                f"{record.CONFIG} of run {run.run_id} is not understood by this Convoy: {error}"
            ) from None
    properties = {name: value for name, value in config.spark.conf.items() if value != BLANK}
    if left_out := sorted(config.spark.conf.keys() - properties.keys()):
        say(f"warning: secrets are not logged; without spark.conf {', '.join(left_out)}, unless spark-submit has them")
    dataset = replace(config.dataset, version=run.tags[record.VERSION], root=where.root or config.dataset.root)
    tracking = replace(config.tracking, uri=uri, experiment=run.experiment, registered_model=None)
    spark = replace(config.spark, conf=properties, master=where.master or config.spark.master)
    return replace(config, dataset=dataset, tracking=tracking, spark=spark)


def check_dataset(run: RunRecord, config: Config) -> None:
    """Look whether the dataset version is there, and has the content that it had.

    Raises:
        DatasetError: It is not, or has not.
    """
    dataset = config.dataset
    manifest = Manifest.load(catalog.find(dataset.root, dataset.name, dataset.version))
    if manifest.fingerprint != run.tags[record.FINGERPRINT]:
        raise DatasetError(
            f"dataset {dataset.name!r} version {dataset.version} under {dataset.root!r} is not what run {run.run_id}"
            f" was trained on: its fingerprint is {manifest.fingerprint[:12]}, expected"
            f" {run.tags[record.FINGERPRINT][:12]}; say where the dataset is with --root"
        )


def here_and_there(run: RunRecord, of_run: Environment) -> list[str]:
    """What of code, Python and packages is not as it was, a line each; another machine is told, but not among them."""
    found = []
    was, commit = run.tags.get(record.COMMIT, ""), record.git_commit()
    if was != commit:
        found.append(f"code {was or 'of no commit'}, here {commit or 'of no commit'}")
    elif run.tags.get(record.CHANGES_SHA256, "") != record.uncommitted_sha256():
        found.append(f"uncommitted changes are not those of {record.CHANGES}")
    if of_run.packages is None or of_run.machine is None:
        found.append("packages and Python, which the run does not tell")
        return found
    machine, packages = record.machine(), record.installed()
    if of_run.machine.get("python") != machine["python"]:
        found.append(f"Python {of_run.machine.get('python')}, here {machine['python']}")
    if of_run.machine.get("onednn") != machine["onednn"]:
        was_on = of_run.machine.get("onednn", "not recorded")
        found.append(f"oneDNN {was_on}, here {machine['onednn']} (TF_ENABLE_ONEDNN_OPTS)")
    for name, version in sorted(of_run.packages.items()):
        if packages.get(name) != version:
            found.append(f"{name} {version}, here {packages.get(name, 'none')}")
    for name in ("processor", "vectors", "cpus", "platform"):
        if of_run.machine.get(name, machine[name]) != machine[name]:  # runs of older versions do not tell all of it
            say(f"another machine: {name} {of_run.machine.get(name)}, here {machine[name]}")
    return found


def _compared(original: RunRecord, new: RunRecord, found: list[str]) -> dict[str, Any]:
    before, after = (run.tags.get(record.WEIGHTS_SHA256) for run in (original, new))
    identical = before == after
    initial = [run.tags.get(record.INITIAL_SHA256) for run in (original, new)]
    if initial[0] != initial[1]:
        found = [*found, "the initial weights are not those of the run"]
    record.mark_identical(new.run_id, identical)
    result: dict[str, Any] = {
        "reproduces": original.run_id,
        "run_id": new.run_id,
        "identical": identical,
        "weights_sha256": [before, after],
        "not_as_it_was": found,
    }
    if identical:
        say(f"identical, bit by bit: weights {before}")
        return result
    epoch = first_epoch(original, new)
    layers = _layers(original, new)
    say(
        f"not identical: weights {before}, now {after}" + (f"; the loss differs from epoch {epoch} on" if epoch else "")
    )
    for layer in layers or []:
        say(
            f"  {layer.layer}: {layer.different:,} of {layer.values:,} weights differ, by {layer.largest:.3g} at most,"
            f" {layer.relative:.3g} of their size"
        )
    return {
        **result,
        "first_epoch": epoch,
        "layers": None if layers is None else [layer.plain() for layer in layers],
        "metrics": {
            name: [finite(run.metrics.get(name)) for run in (original, new)] for name in ("val_loss", "val_accuracy")
        },
    }


def first_epoch(original: RunRecord, new: RunRecord) -> int | None:
    """The first epoch, from 1, whose loss is not the same in both runs; None where all are."""
    before, after = (reading.history(run.run_id, "loss") for run in (original, new))
    return next((step for step in sorted(before.keys() | after.keys()) if before.get(step) != after.get(step)), None)


def _layers(original: RunRecord, new: RunRecord) -> list[LayerDifference] | None:
    networks = []
    for run in (original, new):
        try:
            package = load_package(f"runs:/{run.run_id}/model")
            networks.append(named_weights(load(package.keras_file, package.uri)))
        except ConvoyError as error:
            say(f"warning: the networks cannot be compared: {error}")
            return None
    return differing_layers(*networks)
