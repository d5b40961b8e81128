"""Trainings to be explained, with datasets written without Spark."""

from dataclasses import replace

import keras
import numpy as np

from convoy.config import Config, TrainingConfig
from convoy.dataset.storage.manifest import SplitEntry
from convoy.images import Geometry
from convoy.insight.report import Trained
from tests.dataset.versions import write_arrays


def explained(folder, samples, labels, classes, training=None, epochs=3) -> Trained:
    """A training on a version in ``folder``, whose splits both have these samples."""
    # The rows of files are written with labels below 10 in mind; the manifest is told of the others.
    parts = [write_arrays(folder, split, samples, labels, rows_per_group=40) for split in ("train", "validation")]
    counts = {name: int((labels == i).sum()) for i, name in enumerate(classes)}
    splits = {name: SplitEntry(e.rows, counts, e.files) for part in parts for name, e in part.splits.items()}
    is_image = samples.dtype == np.uint8 and samples.ndim == 4
    manifest = replace(
        parts[0],
        name="<b>data</b>",
        classes=list(classes),
        splits=splits,
        image=Geometry(samples.shape[1], samples.shape[2], samples.shape[3], "stretch") if is_image else None,
        pixel_mean=[0.0] * samples.shape[-1],
        pixel_std=[1.0] * samples.shape[-1],
    )
    history = {
        epoch: {"loss": 1 / (epoch + 1), "accuracy": 0.9, "val_loss": 1 / (epoch + 1), "val_accuracy": 0.9}
        | {"learning_rate": 0.001, "images_per_second": 10.0}
        for epoch in range(epochs)
    }
    health = {
        epoch: {"dead_units/a": 0.5, "gradient_norm/a": 10.0**-epoch, "gradient_norm/b": 0.0} for epoch in range(epochs)
    }
    config = Config(training=training or TrainingConfig(num_workers=0, epochs=epochs))
    return Trained(config, folder, manifest, "0123456789abcdef", history, health)


def network(shape, classes, dtype="uint8", rank=2):
    """A small convolutional network with ReLUs."""
    conv = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}[rank]
    pool = {
        1: keras.layers.GlobalMaxPooling1D,
        2: keras.layers.GlobalMaxPooling2D,
        3: keras.layers.GlobalMaxPooling3D,
    }[rank]
    inputs = keras.Input(shape, dtype=dtype)
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = conv(4, 3, activation="relu", padding="same", name="conv.1")(x)
    x = conv(6, 3, activation="relu", padding="same", name="conv>2")(x)
    x = pool()(x)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))
