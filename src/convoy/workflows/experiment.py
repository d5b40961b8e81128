"""Train and test variants of a configuration, one after the other, and compare them in a parent run."""

import time
from collections.abc import Sequence

from pyspark.sql import SparkSession

from convoy.cluster.session_facts import application_id
from convoy.cluster.spark import session
from convoy.config import Config
from convoy.console import Table, say
from convoy.dataset.storage import catalog
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ConfigError, ModelError, TrainingError
from convoy.experiments.comparison import Row, as_csv, as_json, as_markdown, cells, rows_of
from convoy.experiments.figures import comparison_picture, recall_picture
from convoy.experiments.variants import Variant, variants_of
from convoy.models.builder import build
from convoy.tracking import connection
from convoy.tracking.child_runs import ParentRun, parent_run
from convoy.tracking.evaluations import log_evaluation
from convoy.tracking.model_io import load_package
from convoy.training.distributed.launch import RankFailure
from convoy.training.preparation import check_networks
from convoy.workflows.evaluate import measure
from convoy.workflows.ingest import ingest
from convoy.workflows.results import ExperimentResult
from convoy.workflows.train import train

_OWN_FAILURES = (ConfigError, ModelError, TrainingError, RankFailure)  # of one training; other errors would stop all
_MOST_CLASSES = 30  # most classes in the picture of recalls


def experiment(config: Config, spark: SparkSession | None = None) -> ExperimentResult:
    """Train and test all variants; ingest the dataset first if it does not exist.

    Args:
        config: All sections; ``experiment.variants`` names the variants.
        spark: The session; by default the active one, or a new one that is stopped at the end.

    Returns:
        The parent run, and one row for each variant.

    Raises:
        ConvoyError: Something that the user gave does not fit; the message says how to fix it.
    """
    started = time.monotonic()
    variants = variants_of(config)
    dataset = config.dataset
    with session("experiment", config.spark, spark) as running:
        if not catalog.versions(dataset.root, dataset.name):
            say(f"experiment: dataset {dataset.name!r} does not exist yet; ingesting it first")
            ingest(config, running)
        path = catalog.find(dataset.root, dataset.name, dataset.version)
        manifest = Manifest.load(path)
        named = ((f"experiment.variants: {variant.name!r}", variant.configs[0]) for variant in variants)
        check_networks(build, named, manifest)
        connection.connect(config.tracking.uri, config.tracking.registry_uri, create=True)
        with parent_run(config, path, manifest, application_id(running)) as parent:
            rows = run_variants(running, variants, parent, path, manifest)
    say(Table(*cells(rows)))
    return ExperimentResult(
        run_id=parent.run_id,
        experiment_id=parent.experiment_id,
        dataset_version=manifest.version,
        variants=[row.plain() for row in rows],
        seconds=round(time.monotonic() - started, 3),
    )


def run_variants(
    spark: SparkSession, variants: Sequence[Variant], parent: ParentRun, path: Location, manifest: Manifest
) -> list[Row]:
    """Train and test every variant; update the comparison in the parent run after each.

    Args:
        spark: The session, in which all of them run.
        variants: The variants to train.
        parent: The parent run, open.
        path: Folder of the dataset version.
        manifest: Its manifest.

    Returns:
        The results of each variant.

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
            trained = train(config, spark, parent.tags_of_child(variant.name, name))
        except _OWN_FAILURES as error:
            say(f"warning: {name} failed: {' '.join(str(error).splitlines()[0].split())}")
        else:
            if "test" in manifest.splits:
                _test(spark, config, str(trained.model_uri), path, manifest)
        rows = rows_of(parent.trials(), [variant.name for variant in variants])
        _log(parent, rows, manifest, config)
    if not any(row.mean for row in rows):
        raise TrainingError(f"no variant could be trained; {rows[0].variant!r} {rows[0].failure}")
    return rows


def _test(spark: SparkSession, config: Config, model_uri: str, path: Location, manifest: Manifest) -> None:
    package = load_package(model_uri)
    found = measure(spark, package, path, manifest, "test", config.evaluation.top_k)
    experiment = config.tracking.experiment
    overall, per_class = found.overall(), found.per_class()
    log_evaluation(package, experiment, "test", overall, per_class, found.cells, manifest)
    say(f"test accuracy {found.accuracy:.4f} of {found.rows:,} images")


def _log(parent: ParentRun, rows: Sequence[Row], manifest: Manifest, config: Config) -> None:
    pictures = {"comparison.png": comparison_picture(rows, f"{config.tracking.experiment}: {manifest.name}")}
    measured = [row for row in rows if row.recall]
    if measured and len(manifest.classes) <= _MOST_CLASSES:
        pictures["recall_by_class.png"] = recall_picture(measured, manifest.classes)
    texts = {"comparison.md": as_markdown(rows), "comparison.csv": as_csv(rows), "comparison.json": as_json(rows)}
    parent.log(pictures, texts)
