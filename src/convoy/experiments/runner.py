"""The trainings of an experiment, one after the other; what failed is told and left behind."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from convoy.config import Config
from convoy.console import say
from convoy.dataset.manifest import Manifest
from convoy.errors import ConfigError, ModelError, TrainingError
from convoy.evaluation.measure import measure
from convoy.experiments.comparison import Row, as_csv, as_json, as_markdown, rows_of
from convoy.experiments.picture import comparison_picture, recall_picture
from convoy.experiments.variants import Variant
from convoy.tracking.evaluations import log_evaluation
from convoy.tracking.package import load_package
from convoy.tracking.trials import ParentRun
from convoy.training.launch import RankFailure

Train = Callable[[Config, Mapping[str, str]], Mapping[str, Any]]
"""Takes a configuration and the run's tags; returns ``run_id`` and ``model_uri`` at least."""

_OWN_FAILURES = (ConfigError, ModelError, TrainingError, RankFailure)  # of one training; others would stop all of them
_MOST_CLASSES = 30  # that the picture of recalls has room for


def run_trials(
    spark: SparkSession, variants: Sequence[Variant], train: Train, parent: ParentRun, path: Path, manifest: Manifest
) -> list[Row]:
    """Train and test every variant; the comparison in the parent run is brought up to date after each.

    Args:
        spark: The session, in which all of them run.
        variants: What to train.
        train: Trains one configuration.
        parent: The parent run, open.
        path: Folder of the dataset version.
        manifest: Its manifest.

    Returns:
        What came of each variant.

    Raises:
        TrainingError: All trainings failed.
    """
    trials = [(variant, config) for variant in variants for config in variant.configs]
    rows: list[Row] = []
    for number, (variant, config) in enumerate(trials, start=1):
        name = variant.name if len(variant.configs) == 1 else f"{variant.name} seed {config.training.seed}"
        changes = "  ".join(f"{field} {value}" for field, value in variant.changes.items())
        say(f"[{number}/{len(trials)}] {name}{': ' if changes else ''}{changes}")
        try:
            trained = train(config, parent.tags_of_child(variant.name, name))
        except _OWN_FAILURES as error:
            say(f"warning: {name} failed: {' '.join(str(error).splitlines()[0].split())}")
        else:
            if "test" in manifest.splits:
                _test(spark, config, trained, path, manifest)
        rows = rows_of(parent.trials(), [variant.name for variant in variants])
        _log(parent, rows, manifest, config)
    if not any(row.mean for row in rows):
        raise TrainingError(f"no variant could be trained; {rows[0].variant!r} {rows[0].failure}")
    return rows


def _test(spark: SparkSession, config: Config, trained: Mapping[str, Any], path: Path, manifest: Manifest) -> None:
    package = load_package(trained["model_uri"])
    found = measure(spark, package, path, manifest, "test", config.evaluation.top_k)
    experiment = config.tracking.experiment
    overall, per_class = found.overall(), found.per_class()
    log_evaluation(package, experiment, "test", overall, per_class, found.confusion, manifest)
    say(f"test accuracy {found.accuracy:.4f} of {found.rows:,} images")


def _log(parent: ParentRun, rows: Sequence[Row], manifest: Manifest, config: Config) -> None:
    pictures = {"comparison.png": comparison_picture(rows, f"{config.tracking.experiment}: {manifest.name}")}
    measured = [row for row in rows if row.recall]
    if measured and len(manifest.classes) <= _MOST_CLASSES:
        pictures["recall_by_class.png"] = recall_picture(measured, manifest.classes)
    texts = {"comparison.md": as_markdown(rows), "comparison.csv": as_csv(rows), "comparison.json": as_json(rows)}
    parent.log(pictures, texts)
