"""Trainings and sweeps whose course and results go into an open run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from pyspark.sql import SparkSession

from convoy.config import TrackingConfig
from convoy.console import Progress, say
from convoy.dataset.manifest import Manifest
from convoy.dataset.read import read_examples
from convoy.dataset.reader import samples_per_epoch
from convoy.models.describe import NetworkDescription
from convoy.models.description_text import full_text, short_text
from convoy.models.picture import network_picture
from convoy.tracking.notes import training_note
from convoy.tracking.package import log_model
from convoy.tracking.rates import PICTURE, log_sweep
from convoy.tracking.record import WEIGHTS_SHA256
from convoy.tracking.runs import TrainingRun
from convoy.training.finder import find_rate
from convoy.training.launch import Handle, launch, run_on_ranks
from convoy.training.progress import Reporter, TrainingProgress
from convoy.training.worker import TrainedModel, TrainTask, load_trained

Explain = Callable[[TrainingRun, keras.Model], None]
"""Logs what explains a trained network to its run."""


@dataclass(frozen=True)
class Course:
    """How a training is started and watched.

    Attributes:
        start: Trains.
        watch: Takes each epoch's metrics, once they are logged; what it raises ends the training.
        shown: Where its course is shown; None is the console.
    """

    start: Callable[[SparkSession, TrainTask, Handle], TrainedModel] = launch
    watch: Reporter | None = None
    shown: Progress | None = None


def tell_network(run: TrainingRun, network: NetworkDescription) -> None:
    """Tell the user, and the run, what is going to be trained."""
    say(short_text(network))
    run.log_network(full_text(network), network_picture(network))


def train_model(
    spark: SparkSession,
    task: TrainTask,
    manifest: Manifest,
    run: TrainingRun,
    config: TrackingConfig,
    explain: Explain,
    course: Course = Course(),
) -> dict[str, Any]:
    """Train on the ranks, log what they tell, and log and register the model; returns fields of the job's result."""
    rows, epochs = samples_per_epoch(manifest, task.training.class_balance), task.training.epochs

    def take(epoch: int, metrics: Mapping[str, float]) -> None:
        run.log_epoch(epoch, metrics)
        if course.watch:
            course.watch(epoch, metrics)

    reporters = take, run.log_ranks, run.log_sample, run.log_health
    with TrainingProgress(rows, epochs, *reporters, shown=course.shown) as progress:
        trained = course.start(spark, task, progress.handle)
    run.log_best()
    run.flush()  # first: it waits for a store that is away
    run.set_tags({WEIGHTS_SHA256: trained.weights_sha256})
    run.log_curves()
    examples = read_examples(Path(task.version_path), manifest, "validation")
    model, result = load_trained(trained), progress.summary()
    run.describe(training_note(task.model, task.training, manifest, model.count_params(), result))
    if config.report:
        explain(run, model)
    uri, version = log_model(model, manifest, examples, run.run_id, config.registered_model)
    return {"model_uri": uri, "model_version": version, **result}


def find_learning_rate(spark: SparkSession, task: TrainTask, manifest: Manifest, run: TrainingRun) -> dict[str, Any]:
    """Sweep the learning rate on the ranks and log the curve, no more; returns fields of the job's result."""
    rows = samples_per_epoch(manifest, task.training.class_balance)
    with TrainingProgress(rows, 1, lambda *_: None) as progress:
        sweep = run_on_ranks(spark, task, progress.handle, find_rate)
    log_sweep(run, sweep)
    rate, updates = sweep.suggestion, len(sweep.losses)
    if rate is None:
        say(f"the loss has not fallen at any learning rate; look at {PICTURE} of run {run.run_id}")
    else:
        say(f"suggested: --training.optimizer.learning_rate {rate:g}; {PICTURE} of run {run.run_id} shows why")
    return {
        "suggested_learning_rate": rate,
        "updates": updates,
        "lowest_loss": float(min(sweep.smoothed, default=sweep.first)),
    }
