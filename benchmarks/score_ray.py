"""Ray Data's ``map_batches`` with two actors: score_ray.py TABLE NETWORK COLUMN.

Ray starts the actors anew for each run; the time counts from when the last of them has loaded the network.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

from epochs import serve

HERE = str(Path(__file__).resolve().parent)


class Classifier:
    """An actor, which loads the network once."""

    def __init__(self, network: str, column: str) -> None:
        import keras
        import numpy as np
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self.model = keras.saving.load_model(Path(network) / "network.keras", compile=False)
        self.shape, self.column = self.model.input_shape[1:], column
        self.model.predict_on_batch(np.zeros((1, *self.shape), np.uint8))
        self.ready = time.time()

    def __call__(self, batch):
        """Probabilities of a batch of NumPy columns."""
        import numpy as np

        values = batch[self.column]
        if self.column == "pixels":
            images = np.stack(values).astype(np.uint8).reshape(-1, *self.shape)
        else:
            sys.path.insert(0, HERE)
            from score_decode import decode

            images = decode(values, self.shape)
        return {"probabilities": self.model.predict_on_batch(images), "ready": np.full(len(images), self.ready)}


def prepare(table: str, network: str, column: str) -> Callable[[], tuple[int, float]]:
    import ray

    ray.init(
        num_cpus=4, include_dashboard=False, _node_ip_address="127.0.0.1", logging_level="ERROR", log_to_driver=False
    )
    ray.data.DataContext.get_current().enable_progress_bars = False

    def epoch() -> tuple[int, float]:
        rows, ready = 0, 0.0
        scored = ray.data.read_parquet(table, columns=[column]).map_batches(
            Classifier, fn_constructor_args=(network, column), concurrency=2, batch_size=1024, batch_format="numpy"
        )
        for batch in scored.iter_batches(batch_size=None):
            rows, ready = rows + len(batch["probabilities"]), max(ready, batch["ready"].max())
        return rows, time.time() - ready

    return epoch


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]), ["ray"])
