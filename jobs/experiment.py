"""Variants of a training, side by side: ``python jobs/experiment.py --config conf/experiments/activations.yaml``."""

import importlib
import sys
import time
from collections.abc import Sequence
from typing import Any

from convoy.cli import run_job
from convoy.config import Config
from convoy.console import say, table
from convoy.dataset import catalog
from convoy.dataset.manifest import Manifest
from convoy.experiments.comparison import cells
from convoy.experiments.runner import run_trials
from convoy.experiments.variants import variants_of
from convoy.models.registry import build
from convoy.spark import session
from convoy.tracking import store
from convoy.tracking.trials import parent_run
from convoy.training.preparation import check_networks

_JOBS = __package__ or "convoy.jobs"  # as a script this file is in no package


def run(config: Config) -> dict[str, Any]:
    """Ingest if need be, train and test all variants; returns the fields of the JSON line."""
    started = time.monotonic()
    variants = variants_of(config)
    dataset = config.dataset
    with session("experiment", config.spark) as spark:
        if not catalog.versions(dataset.root, dataset.name):
            say(f"experiment: there is no dataset {dataset.name!r} yet; it is made first")
            importlib.import_module(f"{_JOBS}.ingest").run(config)
        path = catalog.find(dataset.root, dataset.name, dataset.version)
        manifest = Manifest.load(path)
        named = ((f"experiment.variants: {variant.name!r}", variant.configs[0]) for variant in variants)
        check_networks(build, named, manifest)
        store.connect(config.tracking.uri, config.tracking.registry_uri, create=True)
        train = importlib.import_module(f"{_JOBS}.train").run
        with parent_run(config, path, manifest, spark.sparkContext.applicationId) as parent:
            rows = run_trials(spark, variants, train, parent, path, manifest)
    say(table(*cells(rows)))
    return {
        "run_id": parent.run_id,
        "experiment_id": parent.experiment_id,
        "dataset_version": manifest.version,
        "variants": [row.plain() for row in rows],
        "seconds": round(time.monotonic() - started, 3),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status."""
    return run_job("experiment", run, "Variants of a training, side by side -> a parent run with a chart.", argv)


if __name__ == "__main__":
    sys.exit(main())
