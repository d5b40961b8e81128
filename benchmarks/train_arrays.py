"""Keras' ``fit`` on arrays in memory, without Horovod:

train_arrays.py VERSION ARRAYS MODEL EPOCHS PROCESSES THREADS [exchange]

Each process has its share of the images and of the batch; they start together. They know nothing of each other, or,
with ``exchange``, two of them hand each other their gradients over a local socket in each step, and go on with the
mean: the least that any exchange of gradients can do. Prints the images per second of each epoch, summed over the
processes, as JSON.
"""

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from epochs import own_stdout

BATCH = 128  # of all processes
_START = _ENDS = None


def network(version: str, name: str):
    """Convoy's network for the dataset, so that all contenders train the same."""
    from convoy.config import ModelConfig
    from convoy.dataset.storage.manifest import Manifest
    from convoy.models.builder import build

    manifest = Manifest.load(version)
    return build(ModelConfig(name), manifest.shape, len(manifest.classes), manifest.pixel_mean, manifest.pixel_std)


def remember(start, ends) -> None:
    """Keep the barrier at which the processes meet, and the ends of their line: they can only be inherited."""
    global _START, _ENDS
    _START, _ENDS = start, ends


def exchanging(adam: type, process: int) -> type:
    """A subclass of the optimizer that averages gradients with the one other process."""
    import numpy as np
    import tensorflow as tf

    line = _ENDS[process]

    def mean(mine):
        # One speaks while the other listens: a socket's buffer may be smaller than the gradients.
        if process == 0:
            line.send_bytes(mine)
        other = np.frombuffer(line.recv_bytes(), np.float32)
        if process == 1:
            line.send_bytes(mine)
        return (mine + other) * np.float32(0.5)

    class Exchanging(adam):  # type: ignore[misc, valid-type]
        def apply(self, grads, trainable_variables=None):
            flat = tf.concat([tf.reshape(g, [-1]) for g in grads], 0)
            averaged = tf.ensure_shape(tf.numpy_function(mean, [flat], tf.float32), flat.shape)
            parts = tf.split(averaged, [g.shape.num_elements() for g in grads])
            super().apply([tf.reshape(p, g.shape) for p, g in zip(parts, grads, strict=True)], trainable_variables)

    return Exchanging


def train(
    version: str, arrays: str, name: str, epochs: int, process: int, processes: int, threads: int, exchange: bool
) -> list[float]:
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
    optimizer = (exchanging(keras.optimizers.Adam, process) if exchange else keras.optimizers.Adam)(0.001)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    clock = fit_clock(keras, len(images))
    _START.wait(300)
    model.fit(images, labels, batch_size=BATCH // processes, epochs=epochs, callbacks=[clock], verbose=0)
    return clock.rates


def main(version: str, arrays: str, name: str, epochs: str, processes: str, threads: str, exchange: str = "") -> None:
    result = own_stdout()
    count = int(processes)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, spawn, initializer=remember, initargs=(spawn.Barrier(count), spawn.Pipe())) as pool:
        ranks = [
            pool.submit(train, version, arrays, name, int(epochs), process, count, int(threads), bool(exchange))
            for process in range(count)
        ]
        rates = [rank.result() for rank in ranks]
    print(json.dumps({"rates": [sum(each) for each in zip(*rates, strict=True)]}), file=result)


if __name__ == "__main__":
    main(*sys.argv[1:])
