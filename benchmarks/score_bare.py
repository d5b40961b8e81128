"""The network in a bare loop in two processes, data in memory: score_bare.py TABLE NETWORK COLUMN."""

import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path

from epochs import serve

PROCESSES, BATCH = 2, 256


def prepare(table: str, network: str, column: str) -> Callable[[], int]:
    context = multiprocessing.get_context("spawn")
    pipes = []
    for number in range(PROCESSES):
        ours, theirs = context.Pipe()
        context.Process(target=loop, args=(theirs, number, table, network, column), daemon=True).start()
        pipes.append(ours)
    rows = sum(pipe.recv() for pipe in pipes)  # the data are in memory, the network is traced

    def epoch() -> int:
        for pipe in pipes:
            pipe.send(None)
        for pipe in pipes:
            pipe.recv()
        return rows

    return epoch


def loop(pipe, number: int, table: str, network: str, column: str) -> None:
    """In each process: all of its batches, whenever it is told to."""
    import keras
    import numpy as np
    import pyarrow.parquet as pq
    import tensorflow as tf
    from score_decode import decode

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = keras.saving.load_model(Path(network) / "network.keras", compile=False)
    shape = model.input_shape[1:]
    parts = [pq.read_table(path, columns=[column]) for path in sorted(Path(table).glob("*.parquet"))[number::PROCESSES]]
    columns = [chunk for part in parts for chunk in part.column(column).chunks]
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

    run()
    pipe.send(len(images))
    while True:
        pipe.recv()
        run()
        pipe.send(None)


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]), ["tensorflow-cpu"])
