"""Keras' ``fit`` on arrays in memory, without Horovod: train_arrays.py VERSION ARRAYS MODEL EPOCHS PROCESSES THREADS.

Each process has its share of the images and of the batch, and knows nothing of the others; they start together. Prints
the images per second of each epoch, summed over the processes, as JSON.
"""

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from epochs import own_stdout

BATCH = 128  # of all processes
_START = None


def network(version: str, name: str):
    """Convoy's network for the dataset, so that all contenders train the same."""
    from convoy.config import ModelConfig
    from convoy.dataset.manifest import Manifest
    from convoy.models.registry import build

    manifest = Manifest.load(version)
    return build(ModelConfig(name), manifest.shape, len(manifest.classes), manifest.pixel_mean, manifest.pixel_std)


def remember(start) -> None:
    """Keep the barrier at which the processes meet: it can only be inherited."""
    global _START
    _START = start


def train(version: str, arrays: str, name: str, epochs: int, process: int, processes: int, threads: int) -> list[float]:
    """In each process."""
    import keras
    import numpy as np
    import tensorflow as tf
    from fit_clock import fit_clock

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    images = np.load(Path(arrays) / "images.npy")[process::processes]
    labels = np.load(Path(arrays) / "labels.npy")[process::processes]
    model = network(version, name)
    model.compile(
        keras.optimizers.Adam(0.001), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False
    )
    clock = fit_clock(keras, len(images))
    _START.wait(300)
    model.fit(images, labels, batch_size=BATCH // processes, epochs=epochs, callbacks=[clock], verbose=0)
    return clock.rates


def main(version: str, arrays: str, name: str, epochs: str, processes: str, threads: str) -> None:
    result = own_stdout()
    count = int(processes)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, spawn, initializer=remember, initargs=(spawn.Barrier(count),)) as pool:
        ranks = [
            pool.submit(train, version, arrays, name, int(epochs), process, count, int(threads))
            for process in range(count)
        ]
        rates = [rank.result() for rank in ranks]
    print(json.dumps({"rates": [sum(each) for each in zip(*rates, strict=True)]}), file=result)


if __name__ == "__main__":
    main(*sys.argv[1:])
