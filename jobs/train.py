"""A dataset -> one MLflow run and a registered model version: ``python jobs/train.py --config conf/digits.yaml``."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from convoy.cli import run_job
from convoy.config import Config
from convoy.dataset import catalog
from convoy.dataset.manifest import Manifest
from convoy.dataset.read import read_examples
from convoy.dataset.reader import samples_per_epoch
from convoy.insight.report import Trained, log_report
from convoy.models.registry import build
from convoy.spark import session
from convoy.tracking import store
from convoy.tracking.package import log_model
from convoy.tracking.runs import training_run
from convoy.training.exchange import check_reduction
from convoy.training.launch import check_slots, launch, task_of
from convoy.training.preflight import check_executors
from convoy.training.progress import TrainingProgress
from convoy.training.recovery import check_resumable, made_folder
from convoy.training.worker import load_trained


def run(config: Config) -> dict[str, Any]:
    """Train; returns the fields of the JSON line."""
    started = time.monotonic()
    path = catalog.find(config.dataset.root, config.dataset.name, config.dataset.version)
    manifest = Manifest.load(path)
    manifest.split("validation")
    workers = config.training.num_workers
    statistics = manifest.pixel_mean, manifest.pixel_std
    build(config.model, manifest.shape, len(manifest.classes), *statistics, manifest.dtype)
    config.training.augmentation.check_fits(manifest.shape, manifest.dtype)
    if config.training.resume:
        check_resumable(config, manifest.fingerprint)
    if workers:
        check_reduction(config.training.horovod)
    store.connect(config.tracking.uri, create=True)
    with session("train", config.spark) as spark:
        check_slots(spark, workers)
        check_executors(spark, workers, str(path), made_folder(config.training))
        with training_run(config, path, manifest, spark.sparkContext.applicationId) as tracked:
            task = task_of(spark, config, path, build, tracked.run_id)
            rows, epochs = samples_per_epoch(manifest, config.training.class_balance), config.training.epochs
            reporters = tracked.log_epoch, tracked.log_ranks, tracked.log_sample, tracked.log_health
            with TrainingProgress(rows, epochs, *reporters) as progress:
                trained = launch(spark, task, progress.handle)
            tracked.flush()  # first: it waits for a store that is away
            tracked.set_tags({"weights.sha256": trained.weights_sha256})
            tracked.log_curves()
            examples = read_examples(path, manifest, "validation")
            model = load_trained(trained)
            if config.tracking.report:
                explained = Trained(config, path, manifest, tracked.run_id, tracked.history, tracked.health)
                log_report(explained, model, tracked.log_folder)
            uri, version = log_model(model, manifest, examples, tracked.run_id, config.tracking.registered_model)
    return {
        "run_id": tracked.run_id,
        "experiment_id": tracked.experiment_id,
        "model_uri": uri,
        "model_version": version,
        **progress.summary(),
        "seconds": round(time.monotonic() - started, 3),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status."""
    return run_job("train", run, "A dataset -> one MLflow run and a registered model version.", argv)


if __name__ == "__main__":
    sys.exit(main())
