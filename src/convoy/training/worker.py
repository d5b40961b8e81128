"""What runs on each rank: data -> network -> ``fit`` -> trained model."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from convoy.config import ModelConfig, TrainingConfig
from convoy.dataset.manifest import Manifest
from convoy.dataset.plan import steps_per_epoch
from convoy.dataset.reader import Batch, ReadSettings, SplitReader, open_split
from convoy.dataset.tf_batches import reading_errors, to_tf
from convoy.training.callbacks import ExactOverRanks, Report, StopOnNonFiniteLoss, optimisation_callbacks
from convoy.training.collective import Collective
from convoy.training.losses import accuracy, crossentropy
from convoy.training.optimizer import build_optimizer, distribute
from convoy.training.precision import in_precision
from convoy.training.schedule import learning_rate


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
        emit: Takes events (see ``callbacks.Report``); used on rank 0.

    Returns:
        The trained model on rank 0, None elsewhere.

    Raises:
        ConvoyError: What the user can mend; every rank raises it.
    """
    _set_up_tensorflow(task, collective)
    config = task.training
    manifest = Manifest.load(task.version_path)
    path = Path(task.version_path)
    threads = max(1, task.threads)
    reading = ReadSettings(config.cache, config.shuffle_window_mb, config.seed, config.class_balance, threads=threads)
    train_data = open_split(path, manifest, "train", reading)
    validation_data = open_split(path, manifest, "validation", replace(reading, class_balance="none"))

    def build() -> keras.Model:
        statistics = manifest.pixel_mean, manifest.pixel_std
        return task.build(task.model.name, manifest.shape, len(manifest.classes), *statistics, manifest.dtype)

    model = in_precision(build(), config.precision)
    rate = learning_rate(config, train_data.samples)
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
        ExactOverRanks(collective, train_data.samples, validation_data.samples, batch, config.accumulation_steps),
        StopOnNonFiniteLoss(),
    ]
    if rank == 0:
        callbacks.insert(1, Report(emit, train_data.samples, config.epochs, batch))
    callbacks += optimisation_callbacks(config, collective, train_data.samples, emit)

    def training() -> Iterator[Batch]:
        for epoch in range(config.epochs):
            yield from train_data.batches(epoch, batch, rank, size)

    def validation() -> Iterator[Batch]:
        return validation_data.in_order(batch, rank, size)

    def pairs(batches: Callable[[], Iterator[Batch]], reader: SplitReader, steps: int) -> tf.data.Dataset:
        return to_tf(batches, reader.first(), steps).map(lambda part: (part["images"], part["labels"]))

    steps = steps_per_epoch(train_data.samples, batch)
    validation_steps = steps_per_epoch(validation_data.samples, batch)
    with reading_errors():
        model.fit(
            pairs(training, train_data, steps * config.epochs),
            epochs=config.epochs,
            steps_per_epoch=steps,
            validation_data=pairs(validation, validation_data, validation_steps),
            callbacks=callbacks,
            shuffle=False,  # the plan has done it
            verbose=0,
        )
    train_data.close()
    validation_data.close()
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
