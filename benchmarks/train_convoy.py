"""Convoy's engine: train_convoy.py VERSION MODEL EPOCHS RANKS CACHE. Prints each epoch's images per second, as JSON."""

import json
import os
import sys

from epochs import own_stdout

from convoy.cluster.spark import session
from convoy.config import ModelConfig, OptimizerConfig, SparkConfig, TrainingConfig
from convoy.models.builder import build
from convoy.training.distributed.launch import launch, threads_per_rank
from convoy.training.events import Epoch
from convoy.training.loop import TrainTask

BATCH = 128


def main(version: str, model: str, epochs: str, ranks: str, cache: str) -> None:
    result = own_stdout()
    rates: list[float] = []
    training = TrainingConfig(
        num_workers=int(ranks),
        epochs=int(epochs),
        global_batch_size=BATCH,
        optimizer=OptimizerConfig(name="adam", learning_rate=0.001),
        cache=cache,
    )

    def handle(event) -> None:
        if isinstance(event, Epoch):
            rates.append(event.metrics["images_per_second"])

    with session("benchmark", SparkConfig(master=f"local[{ranks}]")) as spark:
        threads = threads_per_rank(spark, int(ranks))
        launch(spark, TrainTask(version, ModelConfig(model), training, build, threads), handle)
    print(json.dumps({"rates": rates}), file=result)


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.path.dirname(__file__), os.environ.get("PYTHONPATH")]))
    main(*sys.argv[1:])
