"""A training as a driver process of its own: ``python elastic_driver.py <master> <dataset> <folder> <elastic>``.

Prints its events as JSON lines, and leaves the weights in ``<folder>/weights.npz``.
"""

import json
import os
import sys
from pathlib import Path

import keras
import numpy as np

from convoy.cluster.spark import session
from convoy.config import CheckpointConfig, ModelConfig, OptimizerConfig, SparkConfig, TrainingConfig
from convoy.models.layers.blocks import normalise
from convoy.training.distributed.launch import launch
from convoy.training.events import to_json
from convoy.training.loop import TrainTask, load_trained

EPOCHS = 40  # so that a new worker is there before the end, also where convolutions are quick
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # for a JVM that starts soon
_CONF = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.executor.memory": "512m",
    "spark.ui.enabled": "false",
    "spark.driver.extraJavaOptions": QUICK,
    "spark.executor.extraJavaOptions": QUICK,
}


def slow_network(name, shape, classes, mean, std, dtype):
    """Few weights and much to compute, so that epochs take long; smooth, so that rounding errors do not grow."""
    image = keras.Input(shape, dtype=dtype)
    x = keras.layers.Conv2D(16, 5, padding="same", activation="tanh")(normalise(image, mean, std))
    x = keras.layers.Conv2D(16, 5, padding="same", activation="tanh")(x)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(x))
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax")(x))


def main(master: str, dataset: str, folder: str, elastic: bool) -> None:
    training = TrainingConfig(
        num_workers=2 if elastic else 1,
        elastic=elastic,
        epochs=EPOCHS,
        global_batch_size=40,
        optimizer=OptimizerConfig("sgd", 0.01),
        max_restarts=1,
        checkpoint=CheckpointConfig(folder),
    )
    task = TrainTask(dataset, ModelConfig("lenet5"), training, slow_network, 1, folder)
    with session("elastic", SparkConfig(master=master, conf=_CONF)) as spark:
        trained = launch(spark, task, lambda event: print(json.dumps(to_json(event)), flush=True))
    np.savez(Path(folder) / "weights.npz", *load_trained(trained).get_weights())


if __name__ == "__main__":
    os.makedirs(sys.argv[3], exist_ok=True)
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4] == "elastic")
