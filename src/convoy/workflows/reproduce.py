"""Train a run again from its own record, and compare the weights."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from convoy.config import Config
from convoy.config.loading import load as load_config
from convoy.console import say
from convoy.dataset.storage import catalog
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ConfigError, ConvoyError, DatasetError, TrackingError
from convoy.models.keras_file import load
from convoy.runs.commands import place
from convoy.runs.details import environment
from convoy.runs.difference import Environment
from convoy.runs.formats import finite
from convoy.runs.weights import LayerDifference, differing_layers, named_weights
from convoy.tracking import connection, provenance, search
from convoy.tracking.model_io import load_package
from convoy.tracking.redaction import BLANK
from convoy.tracking.run_record import RunRecord
from convoy.workflows.results import ReproduceResult
from convoy.workflows.train import train

_TAGS = (provenance.DATASET, provenance.VERSION, provenance.FINGERPRINT, provenance.WEIGHTS_SHA256)
_LISTED, _TOLD = 5, 20  # most differences in an error, and in lines on the console


@dataclass(frozen=True)
class Overrides:
    """Settings that replace those of the run.

    Attributes:
        root: ``dataset.root``; None is the run's.
        master: ``spark.master``; None is the run's.
    """

    root: str | None = None
    master: str | None = None


def reproduce(
    run: str,
    config: str | None = None,
    uri: str | None = None,
    overrides: Overrides = Overrides(),
    strict: bool = False,
    spark: SparkSession | None = None,
) -> ReproduceResult:
    """Train a run again from its own record, and compare the weights bitwise.

    Args:
        run: Id of the run, the beginning of it, or its name.
        config: YAML file whose ``tracking.uri`` is used.
        uri: Tracking URI; wins over the file's.
        overrides: Settings that replace those of the run.
        strict: Raise an error if code, Python or packages differ from those of the run.
        spark: The session; by default the active one, or a new one that is stopped at the end.

    Returns:
        The new run, and whether its weights are identical.

    Raises:
        ConvoyError: The record of the run is incomplete, its dataset does not exist, or ``strict`` found differences.
    """
    uri = place(config, uri).uri
    connection.connect(uri)
    original = search.find(run)
    text = recorded(original)
    again = configuration(original, text, uri, overrides)
    check_dataset(original, again)
    found = environment_mismatches(original, environment(original))
    if found and strict:
        listed = "; ".join(found[:_LISTED]) + (f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else "")
        raise TrackingError(f"run {original.run_id} cannot be reproduced strictly: {listed}; install what it had")
    for line in found[:_TOLD]:
        say(f"differs from the run: {line}")
    if len(found) > _TOLD:
        say(f"differs from the run: {len(found) - _TOLD} more packages")
    tags = {provenance.REPRODUCES: original.run_id, "mlflow.runName": f"{original.name} again"}
    new = search.find(train(again, spark, tags).run_id)
    return _compared(original, new, found)


def recorded(run: RunRecord) -> str:
    """Return the configuration that a run was trained with, as YAML.

    Raises:
        TrackingError: The run's record is incomplete; the message names what is missing.
    """
    text = search.artifact_text(run.run_id, provenance.CONFIG)
    missing = [f"the tag {name}" for name in _TAGS if not run.tags.get(name)]
    missing += [f"the file {provenance.CONFIG}"] if text is None else []
    if text is None or missing:
        why = (
            "it has no trained weights"
            if f"the tag {provenance.WEIGHTS_SHA256}" in missing
            else "an older Convoy created it"
        )
        raise TrackingError(f"run {run.run_id} cannot be reproduced: it lacks {', '.join(missing)}; {why}")
    return text


def configuration(run: RunRecord, text: str, uri: str, overrides: Overrides) -> Config:
    """Return the configuration to train again with: the run's, with its dataset's version, registering nothing.

    Args:
        run: The run.
        text: Its configuration, as YAML.
        uri: The tracking store.
        overrides: Settings that replace those of the run.

    Raises:
        ConfigError: This version of Convoy cannot read it.
    """
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        file = Path(folder) / provenance.CONFIG
        file.write_text(text, encoding="utf-8")
        try:
            config = load_config(file)
        except ConvoyError as error:
            raise ConfigError(
                f"{provenance.CONFIG} of run {run.run_id} cannot be read by this Convoy: {error}"
            ) from None
    properties = {name: value for name, value in config.spark.conf.items() if value != BLANK}
    if left_out := sorted(config.spark.conf.keys() - properties.keys()):
        say(f"warning: secrets are not logged; spark.conf lacks {', '.join(left_out)}, unless spark-submit sets it")
    dataset = replace(config.dataset, version=run.tags[provenance.VERSION], root=overrides.root or config.dataset.root)
    tracking = replace(config.tracking, uri=uri, experiment=run.experiment, registered_model=None)
    spark = replace(config.spark, conf=properties, master=overrides.master or config.spark.master)
    return replace(config, dataset=dataset, tracking=tracking, spark=spark)


def check_dataset(run: RunRecord, config: Config) -> None:
    """Raise an error unless the dataset version exists and has the content that the run was trained on.

    Raises:
        DatasetError: It does not exist, or has another content.
    """
    dataset = config.dataset
    manifest = Manifest.load(catalog.find(dataset.root, dataset.name, dataset.version))
    if manifest.fingerprint != run.tags[provenance.FINGERPRINT]:
        raise DatasetError(
            f"dataset {dataset.name!r} version {dataset.version} under {dataset.root!r} is not what run {run.run_id}"
            f" was trained on: its fingerprint is {manifest.fingerprint[:12]}, expected"
            f" {run.tags[provenance.FINGERPRINT][:12]}; give the location of the dataset with --root"
        )


def environment_mismatches(run: RunRecord, of_run: Environment) -> list[str]:
    """Return the differences in code, Python and packages, a line each; differences of the machine are only printed."""
    found = []
    was, commit = run.tags.get(provenance.COMMIT, ""), provenance.git_commit()
    if was != commit:
        found.append(f"code {was or 'of no commit'}, here {commit or 'of no commit'}")
    elif run.tags.get(provenance.CHANGES_SHA256, "") != provenance.uncommitted_sha256():
        found.append(f"uncommitted changes are not those of {provenance.CHANGES}")
    if of_run.packages is None or of_run.machine is None:
        found.append("packages and Python, which the run did not record")
        return found
    machine, packages = provenance.machine(), provenance.installed()
    if of_run.machine.get("python") != machine["python"]:
        found.append(f"Python {of_run.machine.get('python')}, here {machine['python']}")
    if of_run.machine.get("onednn") != machine["onednn"]:
        was_on = of_run.machine.get("onednn", "not recorded")
        found.append(f"oneDNN {was_on}, here {machine['onednn']} (TF_ENABLE_ONEDNN_OPTS)")
    for name, version in sorted(of_run.packages.items()):
        if packages.get(name) != version:
            found.append(f"{name} {version}, here {packages.get(name, 'none')}")
    for name in ("processor", "vectors", "cpus", "platform"):
        if of_run.machine.get(name, machine[name]) != machine[name]:  # runs of older versions do not record all of it
            say(f"another machine: {name} {of_run.machine.get(name)}, here {machine[name]}")
    return found


def _compared(original: RunRecord, new: RunRecord, found: list[str]) -> ReproduceResult:
    before, after = (run.tags.get(provenance.WEIGHTS_SHA256) for run in (original, new))
    identical = before == after
    initial = [run.tags.get(provenance.INITIAL_SHA256) for run in (original, new)]
    if initial[0] != initial[1]:
        found = [*found, "the initial weights are not those of the run"]
    provenance.mark_identical(new.run_id, identical)
    comparison: dict[str, Any] = {"weights_sha256": [before, after], "not_as_it_was": found}
    if identical:
        say(f"bitwise identical: weights {before}")
        return ReproduceResult(original.run_id, new.run_id, identical, comparison)
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
    comparison |= {
        "first_epoch": epoch,
        "layers": None if layers is None else [layer.plain() for layer in layers],
        "metrics": {
            name: [finite(run.metrics.get(name)) for run in (original, new)] for name in ("val_loss", "val_accuracy")
        },
    }
    return ReproduceResult(original.run_id, new.run_id, identical, comparison)


def first_epoch(original: RunRecord, new: RunRecord) -> int | None:
    """Return the first epoch, from 1, whose loss differs between the runs, or None if all are equal."""
    before, after = (search.history(run.run_id, "loss") for run in (original, new))
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
