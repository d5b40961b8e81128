"""Trainings whose course and results go into an open run."""

from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from convoy.config import TrackingConfig
from convoy.dataset.manifest import Manifest
from convoy.dataset.read import read_examples
from convoy.dataset.reader import samples_per_epoch
from convoy.tracking.package import log_model
from convoy.tracking.runs import TrainingRun
from convoy.training.launch import launch
from convoy.training.progress import TrainingProgress
from convoy.training.worker import TrainTask, load_trained


def train_model(
    spark: SparkSession, task: TrainTask, manifest: Manifest, run: TrainingRun, config: TrackingConfig
) -> dict[str, Any]:
    """Train on the ranks, log what they tell, and log and register the model; returns fields of the job's result."""
    rows, epochs = samples_per_epoch(manifest, task.training.class_balance), task.training.epochs
    with TrainingProgress(rows, epochs, run.log_epoch, run.log_ranks, run.log_sample) as progress:
        trained = launch(spark, task, progress.handle)
    run.flush()  # first: it waits for a store that is away
    run.set_tags({"weights.sha256": trained.weights_sha256})
    run.log_curves()
    examples = read_examples(Path(task.version_path), manifest, "validation")
    uri, version = log_model(load_trained(trained), manifest, examples, run.run_id, config.registered_model)
    return {"model_uri": uri, "model_version": version, **progress.summary()}
