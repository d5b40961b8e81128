"""``MultiWorkerMirroredStrategy`` with local workers: train_mirrored.py VERSION ARRAYS MODEL EPOCHS WORKERS.

In an environment of its own with Keras 2, since Keras 3 does not know this strategy; the networks are those of
``convoy.models.architectures.classic``. Prints each epoch's images per second, as JSON.
"""

import json
import multiprocessing
import os
import socket
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from epochs import own_stdout

BATCH = 128  # of all workers


def network(keras, name: str, shape, classes: int, mean, std):
    layers = keras.layers
    image = keras.Input(shape, dtype="uint8")
    x = layers.Normalization(axis=-1, mean=mean, variance=[value * value for value in std])(image)
    if name == "lenet5":
        x = layers.ZeroPadding2D(2)(x)
        x = layers.Conv2D(6, 5, activation="tanh")(x)
        x = layers.AveragePooling2D(2)(x)
        x = layers.Conv2D(16, 5, activation="tanh")(x)
        x = layers.AveragePooling2D(2)(x)
        x = layers.Conv2D(120, 5, activation="tanh")(x)
        x = layers.Flatten()(x)
        x = layers.Dense(84, activation="tanh")(x)
    else:
        x = layers.Conv2D(32, 3, activation="relu")(x)
        x = layers.Conv2D(64, 3, activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
        x = layers.Dropout(0.25)(x)
        x = layers.Flatten()(x)
        x = layers.Dense(128, activation="relu")(x)
        x = layers.Dropout(0.5)(x)
    return keras.Model(image, layers.Dense(classes, activation="softmax")(x))


def train(version: str, arrays: str, name: str, epochs: int) -> list[float]:
    """In each worker."""
    import numpy as np
    import tensorflow as tf
    import tf_keras
    from fit_clock import fit_clock

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    images, labels = np.load(Path(arrays) / "images.npy"), np.load(Path(arrays) / "labels.npy")
    manifest = json.loads((Path(version) / "manifest.json").read_text())
    steps = len(images) // BATCH
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(10_000).repeat().batch(BATCH)
    dataset = dataset.prefetch(tf.data.AUTOTUNE).with_options(options)
    with strategy.scope():
        statistics = manifest["pixel_mean"], manifest["pixel_std"]
        model = network(tf_keras, name, images.shape[1:], len(manifest["classes"]), *statistics)
        model.compile(tf_keras.optimizers.Adam(0.001), "sparse_categorical_crossentropy", metrics=["accuracy"])
    clock = fit_clock(tf_keras, steps * BATCH)
    model.fit(dataset, steps_per_epoch=steps, epochs=epochs, callbacks=[clock], verbose=0)
    return clock.rates


def become(cluster: list[str], numbers) -> None:
    """Make this process a worker of the cluster."""
    task = {"type": "worker", "index": numbers.get()}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": cluster}, "task": task})


def main(version: str, arrays: str, name: str, epochs: str, workers: str) -> None:
    result = own_stdout()
    count = int(workers)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    cluster = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    spawn = multiprocessing.get_context("spawn")
    numbers = spawn.Queue()
    for index in range(count):
        numbers.put(index)
    with ProcessPoolExecutor(count, spawn, initializer=become, initargs=(cluster, numbers)) as pool:
        ranks = [pool.submit(train, version, arrays, name, int(epochs)) for _ in range(count)]
        results = [rank.result() for rank in ranks]
    print(json.dumps({"rates": results[0]}), file=result)


if __name__ == "__main__":
    main(*sys.argv[1:])
