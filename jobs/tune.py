"""Trials of a training in a space of its fields: ``python jobs/tune.py --config conf/tune/digits.yaml``."""

import importlib
import sys
import time
from collections.abc import Sequence
from typing import Any

from convoy.cli import run_job
from convoy.config import Config
from convoy.console import say
from convoy.dataset import catalog
from convoy.dataset.manifest import Manifest
from convoy.models.registry import build
from convoy.spark import session
from convoy.tracking import store
from convoy.tracking.trials import parent_run
from convoy.training.preparation import check_networks
from convoy.tuning.best import check_best, crown
from convoy.tuning.runner import Runner, Setting, check_machines
from convoy.tuning.space import extremes, space_of
from convoy.tuning.storage import open_study

_JOBS = __package__ or "convoy.jobs"  # as a script this file is in no package


def run(config: Config) -> dict[str, Any]:
    """Ingest if need be, run trials, make of the best what is asked for; returns the fields of the JSON line."""
    begun = time.monotonic()
    parameters, dataset = space_of(config), config.dataset
    check_best(config)
    if not catalog.versions(dataset.root, dataset.name):
        say(f"tune: there is no dataset {dataset.name!r} yet; it is made first")
        importlib.import_module(f"{_JOBS}.ingest").run(config)
    path = catalog.find(dataset.root, dataset.name, dataset.version)
    manifest = Manifest.load(path)
    check_networks(build, extremes(config, parameters), manifest)
    with open_study(config, parameters, manifest.fingerprint) as study:
        store.connect(config.tracking.uri, config.tracking.registry_uri, create=True)
        with session("tune", config.spark) as spark:
            check_machines(spark, config, path)
            application = spark.sparkContext.applicationId
            with parent_run(config, path, manifest, application, job="tune", again=study.run_id) as parent:
                setting = Setting(spark, config, parameters, path, manifest, parent)
                Runner(setting, study, begun).run()
                train = importlib.import_module(f"{_JOBS}.train").run
                result = crown(setting, study, train)
    return {
        "run_id": parent.run_id,
        "experiment_id": parent.experiment_id,
        "dataset_version": manifest.version,
        **result,
        "seconds": round(time.monotonic() - begun, 3),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status."""
    return run_job("tune", run, "Trials of a training in a space of its fields -> a parent run, the best model.", argv)


if __name__ == "__main__":
    sys.exit(main())
