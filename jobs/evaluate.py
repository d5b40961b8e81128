"""A model on a split -> metrics and pictures in its run: ``python jobs/evaluate.py --config conf/digits.yaml``."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from convoy.cli import run_job
from convoy.config import Config
from convoy.console import say, table
from convoy.dataset import catalog
from convoy.dataset.manifest import Manifest
from convoy.evaluation.measure import measure
from convoy.spark import session
from convoy.tracking import store
from convoy.tracking.evaluations import log_evaluation
from convoy.tracking.package import load_package
from convoy.tracking.registry import default_uri


def run(config: Config) -> dict[str, Any]:
    """Evaluate; returns the fields of the JSON line."""
    started = time.monotonic()
    section = config.evaluation
    uri = default_uri(section.model, config.tracking.registered_model, "evaluation.model")
    path = catalog.find(config.dataset.root, config.dataset.name, config.dataset.version)
    manifest = Manifest.load(path)
    manifest.split(section.split)
    store.connect(config.tracking.uri)
    package = load_package(uri)
    with session("evaluate", config.spark) as spark:
        result = measure(spark, package, path, manifest, section.split, section.top_k)
    run_id = log_evaluation(
        package.run_id,
        config.tracking.experiment,
        section.split,
        result.overall(),
        result.per_class(),
        result.confusion,
        manifest,
    )
    say(table(result.table(manifest.classes), ["class", "precision", "recall", "f1", "support"]))
    say(f"evaluate: {package.uri} on {result.rows:,} {section.split} images: accuracy {result.accuracy:.4f}")
    return {
        "run_id": run_id,
        "model": package.uri,
        "dataset_version": manifest.version,
        "split": section.split,
        "rows": result.rows,
        **result.overall(),
        "seconds": round(time.monotonic() - started, 3),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status."""
    return run_job("evaluate", run, "A model on a split of the dataset -> metrics and pictures in its run.", argv)


if __name__ == "__main__":
    sys.exit(main())
