"""Horovod + Petastorm + Keras as the tutorials combine them: train_recipe.py VERSION MODEL EPOCHS RANKS ROWS.

``horovod.spark.run``, ``make_reader`` with ``cur_shard``, ``make_petastorm_dataset``, ``steps_per_epoch``, and an
optimizer that all-reduces each gradient. (Horovod's own ``DistributedOptimizer`` predates Keras 3.) Prints each epoch's
images per second, as JSON.
"""

import json
import os
import sys
from pathlib import Path

from epochs import own_stdout

from convoy.cluster.spark import find_java

BATCH = 64  # per rank


def train(version: str, name: str, epochs: int, rows: int) -> list[float]:
    """On each rank."""
    import horovod.tensorflow as hvd
    import keras
    import tensorflow as tf
    from fit_clock import fit_clock
    from petastorm import make_reader
    from petastorm.tf_utils import make_petastorm_dataset
    from train_arrays import network

    hvd.init()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    class DistributedAdam(keras.optimizers.Adam):
        def apply(self, grads, trainable_variables=None):
            return super().apply([hvd.allreduce(grad) for grad in grads], trainable_variables)

    model = network(version, name)
    model.compile(DistributedAdam(0.001), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    for i, variable in enumerate([*model.weights, *model.optimizer.variables]):
        variable.assign(hvd.broadcast(variable.value, root_rank=0, name=f"broadcast.{i}"))
    steps = rows // (BATCH * hvd.size())
    clock = fit_clock(keras, steps * BATCH * hvd.size())
    with make_reader(
        (Path(version) / "train").as_uri(),
        schema_fields=["image", "label"],
        num_epochs=None,
        cur_shard=hvd.rank(),
        shard_count=hvd.size(),
    ) as reader:
        dataset = make_petastorm_dataset(reader).map(lambda row: (row.image, row.label)).batch(BATCH)
        model.fit(dataset, steps_per_epoch=steps, epochs=epochs, callbacks=[clock], verbose=0)
    return clock.rates


def main(version: str, model: str, epochs: str, ranks: str, rows: str) -> None:
    result = own_stdout()
    if home := find_java(os.environ):
        os.environ["JAVA_HOME"] = home
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.path.dirname(__file__), os.environ.get("PYTHONPATH")]))
    import horovod.spark
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{ranks}]").config("spark.ui.enabled", "false")
    spark = (
        builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    )
    try:
        rates = horovod.spark.run(
            train,
            args=(version, model, int(epochs), int(rows)),
            num_proc=int(ranks),
            start_timeout=120,
            use_gloo=True,
            nics={"lo"},
            env=dict(os.environ),
            verbose=0,
        )
    finally:
        spark.stop()
    print(json.dumps({"rates": rates[0]}), file=result)


if __name__ == "__main__":
    import train_recipe  # by its name, so that the ranks import it instead of getting it as a pickle

    train_recipe.main(*sys.argv[1:])
