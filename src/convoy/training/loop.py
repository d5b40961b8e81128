"""Training on each rank: data -> network -> ``fit`` -> trained model."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from convoy.config import ModelConfig, TrainingConfig
from convoy.dataset.ingest.nan_check import first_not_finite
from convoy.dataset.reading.tf_data import reading_errors
from convoy.dataset.storage.filesystem import location
from convoy.dataset.storage.manifest import Manifest
from convoy.models.pretrained.transfer import InitialWeights
from convoy.models.rewiring import finalize_normalisation
from convoy.training.auxiliary import Function, has_auxiliary_heads, of_main_head, with_auxiliary_loss
from convoy.training.callbacks.global_metrics import GlobalMetrics
from convoy.training.callbacks.layer_health import Health, first_samples
from convoy.training.callbacks.optimization import optimisation_callbacks
from convoy.training.callbacks.progress_reporter import ProgressReporter
from convoy.training.callbacks.terminate_on_nan import TerminateOnNaN
from convoy.training.callbacks.timing import Timing, time_fetches
from convoy.training.checkpoint.resume import CheckpointResumer
from convoy.training.checkpoint.signature import resume_signature
from convoy.training.checkpoint.step_counter import StepCounter, StepCounterCallback
from convoy.training.distributed.collective import Collective
from convoy.training.events import Emit, Event
from convoy.training.input.input_pipeline import Pipeline
from convoy.training.network import export_model, network
from convoy.training.optim.losses import accuracy, crossentropy
from convoy.training.optim.optimizer import build_optimizer, distribute
from convoy.training.optim.schedule import Schedule, learning_rate


@dataclass(frozen=True)
class TrainTask:
    """The description of a training that is sent to all ranks.

    Attributes:
        version_path: Folder of the dataset version, which every rank can read.
        model: Section ``model``.
        training: Section ``training``.
        build: Builds the network from (section ``model``, shape, classes, pixel mean, pixel std, dtype); a module-level
            function.
        threads: TensorFlow's threads per rank; 0 is TensorFlow's default.
        checkpoints: Folder of the run's checkpoints, which every rank can write; None saves none.
        resume: Whether to resume from the newest checkpoint, if there is one.
        weights: Initial weights otherwise, in a file that rank 0 can read; None initialises them randomly.
        health: Whether rank 0 measures the layers after each epoch (see ``layer_health.Health``).
    """

    version_path: str
    model: ModelConfig
    training: TrainingConfig
    build: Callable[..., keras.Model]
    threads: int
    checkpoints: str | None = None
    resume: bool = False
    weights: InitialWeights | None = None
    health: bool = False


@dataclass(frozen=True)
class TrainedModel:
    """The result of rank 0.

    Attributes:
        keras_file: The bytes of the ``.keras`` file, without any trace of Horovod.
        weights_sha256: Checksum of the weights, to compare runs.
    """

    keras_file: bytes
    weights_sha256: str


def train(task: TrainTask, collective: Collective, emit: Emit) -> TrainedModel | None:
    """Train on this rank, together with the others.

    Args:
        task: What to train.
        collective: The ranks.
        emit: Takes the events of this rank (see ``events``).

    Returns:
        The trained model on rank 0, None elsewhere.

    Raises:
        ConvoyError: An error that the user can fix; every rank raises it.
    """
    set_up_tensorflow(task, collective)
    config = task.training
    manifest = Manifest.load(task.version_path)
    with Pipeline(location(task.version_path), manifest, config, collective, task.threads) as data:
        return _train_on(data, task, manifest, collective, emit)


def compiled_network(
    task: TrainTask, manifest: Manifest, collective: Collective, rate: float | Schedule
) -> keras.Model:
    """Build and compile the network, including the optimizer's variables; the values still differ between ranks."""
    config = task.training
    weights = task.weights if collective.rank == 0 else None
    model = network(task.build, task.model, manifest, config.precision, weights)
    plain = build_optimizer(config.optimizer, rate, scale_loss=config.precision == "mixed_float16")
    optimizer = distribute(plain, collective, config.accumulation_steps)
    loss: Function = crossentropy(config.label_smoothing)
    metric: Function = accuracy
    if has_auxiliary_heads(model):
        loss, metric = with_auxiliary_loss(loss), of_main_head(metric)
    # XLA has no kernels for Horovod's operations on CPU.
    model.compile(optimizer, loss, metrics=[metric], jit_compile=False, auto_scale_loss=False)
    optimizer.build(model.trainable_variables)
    return model


def _train_on(
    data: Pipeline, task: TrainTask, manifest: Manifest, collective: Collective, emit: Emit
) -> TrainedModel | None:
    config = task.training
    model = compiled_network(task, manifest, collective, learning_rate(config, data.rows))
    optimizer = model.optimizer
    batch, rank = config.global_batch_size, collective.rank
    identity = resume_signature(config, task.model, manifest.fingerprint)
    run = CheckpointResumer(
        task.checkpoints, task.resume, config, identity, model, collective, emit if rank == 0 else _discard
    )
    position = StepCounter(data.steps, *run.start)
    collective.broadcast([*model.weights, *optimizer.variables])
    finalize_normalisation(model.layers)  # of all ranks, whose weights may be those of rank 0's checkpoint or file
    exact = GlobalMetrics(collective, data.rows, data.validation_rows, batch, position, config.accumulation_steps)
    stop = TerminateOnNaN(lambda: first_not_finite(location(task.version_path), manifest, "train"))
    callbacks: list[keras.callbacks.Callback] = [StepCounterCallback(position), exact, stop]
    if rank == 0:
        callbacks.insert(2, ProgressReporter(emit, data.rows, config.epochs, batch, position))
    fetching = time_fetches(model)
    callbacks.append(Timing(emit, collective, data.rows, batch, position, fetching, optimizer.communication))
    callbacks += optimisation_callbacks(config, collective, data.rows, emit)
    callbacks += run.callbacks(position, exact, callbacks)
    if task.health and rank == 0:
        callbacks.append(Health(emit, first_samples(location(task.version_path), manifest, batch // collective.size)))
    with reading_errors():
        model.fit(
            data.training(position.epoch, position.step),
            initial_epoch=position.epoch,
            epochs=config.epochs,
            steps_per_epoch=position.steps,
            validation_data=data.validation(),
            callbacks=callbacks,
            shuffle=False,  # the epoch plan shuffles
            verbose=0,
        )
    if rank != 0:
        return None
    trained = export_model(task.build, task.model, manifest, model)
    return TrainedModel(_keras_bytes(trained), weights_sha256(trained))


def _discard(event: Event) -> None:
    """Discard the events of ranks other than 0."""


def set_up_tensorflow(task: TrainTask, collective: Collective) -> None:
    """Set threads, device, random seeds and determinism of this process; call it before any TensorFlow operation."""
    if task.threads:
        tf.config.threading.set_intra_op_parallelism_threads(task.threads)
        tf.config.threading.set_inter_op_parallelism_threads(task.threads)
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        tf.config.set_visible_devices(gpus[collective.local_rank % len(gpus)], "GPU")
    # Initial weights are broadcast from rank 0; later random numbers (dropout) must differ between ranks.
    seeds = np.random.SeedSequence([task.training.seed, collective.rank])
    keras.utils.set_random_seed(int(seeds.generate_state(1)[0]))
    tf.config.experimental.enable_op_determinism()


def _keras_bytes(model: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        file = os.path.join(folder, "model.keras")
        model.save(file)
        return Path(file).read_bytes()


def load_trained(trained: TrainedModel) -> keras.Model:
    """Load the Keras model of the result of ``train``."""
    import convoy.models.layers.custom  # noqa: F401  (registers the custom layers)

    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        file = os.path.join(folder, "model.keras")
        Path(file).write_bytes(trained.keras_file)
        return keras.saving.load_model(file, safe_mode=True)


def weights_sha256(model: keras.Model) -> str:
    """Return the SHA-256 of all weights, in order: equal for runs whose weights are bitwise identical."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()
