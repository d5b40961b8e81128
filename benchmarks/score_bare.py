"""The network in a bare loop in two processes, data in memory: score_bare.py TABLE NETWORK COLUMN."""

import sys
from collections.abc import Callable
from pathlib import Path

from epochs import serve
from in_processes import chunks, in_processes

BATCH = 256


def make(number: int, table: str, network: str, column: str) -> tuple[int, Callable[[], None]]:
    """In each process: all of its batches."""
    import keras
    import numpy as np
    import tensorflow as tf
    from score_decode import decode

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = keras.saving.load_model(Path(network) / "network.keras", compile=False)
    shape = model.input_shape[1:]
    columns = chunks(table, column, number)
    if column == "pixels":
        values = np.concatenate([chunk.flatten().to_numpy() for chunk in columns])
        images = values.astype(np.uint8).reshape(-1, *shape)
    else:
        images = [value.as_buffer() for chunk in columns for value in chunk]
    call = tf.function(
        lambda samples: model(samples, training=False), input_signature=[tf.TensorSpec((None, *shape), "uint8")]
    )

    def run() -> None:
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            call(batch if column == "pixels" else decode(batch, shape)).numpy()

    return len(images), run


if __name__ == "__main__":
    serve(lambda: in_processes(make, *sys.argv[1:]), ["tensorflow-cpu"])
