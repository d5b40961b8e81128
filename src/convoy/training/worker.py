"""What runs on each rank: data -> network -> ``fit`` -> trained model."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from convoy.config import ModelConfig, TrainingConfig
from convoy.dataset.manifest import Manifest
from convoy.dataset.plan import steps_per_epoch
from convoy.dataset.read import evaluation_batches, read_split, training_batches
from convoy.training.callbacks import ExactOverRanks, Report, StopOnNonFiniteLoss, optimisation_callbacks
from convoy.training.collective import Collective
from convoy.training.losses import accuracy, crossentropy
from convoy.training.optimizer import build_optimizer, distribute
from convoy.training.precision import in_precision
from convoy.training.schedule import learning_rate
from convoy.training.timing import Timing, time_fetches


@dataclass(frozen=True)
class TrainTask:
    """What a rank needs to know; it is sent to all of them.

    Attributes:
        version_path: Folder of the dataset version, which every rank can read.
        model: Section ``model``.
        training: Section ``training``.
        build: Builds the network from (model name, shape, classes, pixel mean, pixel std, dtype); a module-level
            function.
        threads: Threads per rank for TensorFlow; 0 leaves the choice to it.
    """

    version_path: str
    model: ModelConfig
    training: TrainingConfig
    build: Callable[..., keras.Model]
    threads: int


@dataclass(frozen=True)
class TrainedModel:
    """What comes back from rank 0.

    Attributes:
        keras_file: The bytes of the ``.keras`` file, without any trace of Horovod.
        weights_sha256: Checksum of the weights, for comparing runs.
    """

    keras_file: bytes
    weights_sha256: str


def train(task: TrainTask, collective: Collective, emit: Callable[[dict[str, Any]], None]) -> TrainedModel | None:
    """Train on this rank, together with the others.

    Args:
        task: What to train.
        collective: The ranks.
        emit: Takes events (see ``callbacks.Report``, of rank 0, and ``timing.Timing``, of all).

    Returns:
        The trained model on rank 0, None elsewhere.

    Raises:
        ConvoyError: What the user can mend; every rank raises it.
    """
    _set_up_tensorflow(task, collective)
    config = task.training
    manifest = Manifest.load(task.version_path)
    path = Path(task.version_path)
    train_data = read_split(path, manifest, "train")
    validation_data = read_split(path, manifest, "validation")

    def build() -> keras.Model:
        statistics = manifest.pixel_mean, manifest.pixel_std
        return task.build(task.model.name, manifest.shape, len(manifest.classes), *statistics, manifest.dtype)

    model = in_precision(build(), config.precision)
    rate = learning_rate(config, len(train_data))
    plain = build_optimizer(config.optimizer, rate, scale_loss=config.precision == "mixed_float16")
    optimizer = distribute(plain, collective, config.accumulation_steps)
    # XLA has no kernels for Horovod's operations on CPU.
    model.compile(
        optimizer, crossentropy(config.label_smoothing), metrics=[accuracy], jit_compile=False, auto_scale_loss=False
    )
    optimizer.build(model.trainable_variables)
    collective.broadcast([*model.weights, *optimizer.variables])

    batch, rank, size = config.global_batch_size, collective.rank, collective.size
    callbacks: list[keras.callbacks.Callback] = [
        ExactOverRanks(collective, len(train_data), len(validation_data), batch, config.accumulation_steps),
        StopOnNonFiniteLoss(),
    ]
    if rank == 0:
        callbacks.insert(1, Report(emit, len(train_data), config.epochs, batch))
    fetching = time_fetches(model)
    callbacks.append(Timing(emit, collective, len(train_data), batch, fetching, optimizer.communication))
    callbacks += optimisation_callbacks(config, collective, len(train_data), emit)
    model.fit(
        training_batches(train_data, batch, config.seed, 0, config.epochs, rank, size),
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch(len(train_data), batch),
        validation_data=evaluation_batches(validation_data, batch, rank, size),
        callbacks=callbacks,
        shuffle=False,  # the plan has done it
        verbose=0,
    )
    if rank != 0:
        return None
    trained = build()  # a fresh network: nothing of Horovod, nor of this optimizer, gets into the file
    trained.set_weights(model.get_weights())
    return TrainedModel(_keras_bytes(trained), weights_sha256(trained))


def _set_up_tensorflow(task: TrainTask, collective: Collective) -> None:
    if task.threads:
        tf.config.threading.set_intra_op_parallelism_threads(task.threads)
        tf.config.threading.set_inter_op_parallelism_threads(task.threads)
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        tf.config.set_visible_devices(gpus[collective.local_rank % len(gpus)], "GPU")
    # Initial weights come from rank 0; what each rank draws later (dropout) must differ.
    seeds = np.random.SeedSequence([task.training.seed, collective.rank])
    keras.utils.set_random_seed(int(seeds.generate_state(1)[0]))
    tf.config.experimental.enable_op_determinism()


def _keras_bytes(model: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        file = os.path.join(folder, "model.keras")
        model.save(file)
        return Path(file).read_bytes()


def load_trained(trained: TrainedModel) -> keras.Model:
    """Load what ``train`` returned."""
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        file = os.path.join(folder, "model.keras")
        Path(file).write_bytes(trained.keras_file)
        return keras.saving.load_model(file, safe_mode=True)


def weights_sha256(model: keras.Model) -> str:
    """Checksum of all weights, in order: the same for runs that reproduce each other bit by bit."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()
