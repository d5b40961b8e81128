"""Every architecture on real Horovod ranks."""

import os
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from convoy.config import HorovodConfig, ModelConfig, OptimizerConfig
from convoy.models.architectures.table import ARCHITECTURES
from convoy.models.builder import build
from convoy.training.distributed.collective import HorovodRanks
from convoy.training.optim.losses import crossentropy
from convoy.training.optim.optimizer import build_optimizer, distribute

pytestmark = [pytest.mark.spark, pytest.mark.e2e, pytest.mark.long]

SHAPES = {"lenet5": (28, 28, 1), "inception_v3": (17, 17, 1), "cnn1d": (50, 2), "cnn3d": (16, 16, 16, 1)}


def one_step_each(names):
    """Train each network for a step, every rank on samples of its own, and save it and load it; runs on a rank."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    ranks = HorovodRanks(HorovodConfig())
    results = {}
    for name in names:
        keras.utils.set_random_seed(ranks.rank)
        shape = SHAPES.get(name, (16, 16, 1))
        model = build(ModelConfig(name), shape, 3, [128.0] * shape[-1], [64.0] * shape[-1])
        optimizer = distribute(build_optimizer(OptimizerConfig("sgd", 0.01)), ranks)
        # Eagerly: tracing the graphs would take minutes.
        model.compile(optimizer, crossentropy(), jit_compile=False, run_eagerly=True)
        ranks.broadcast(model.weights)
        before = model.get_weights()
        samples = np.random.default_rng(ranks.rank).integers(0, 256, (2, *shape), np.uint8)
        loss = float(model.train_on_batch(samples, np.arange(2)))
        trained = [weight.numpy() for weight in model.trainable_weights]
        moved = sum(float(np.abs(a - b).sum()) for a, b in zip(before, model.get_weights(), strict=True))
        total = float(sum(np.abs(weight).sum(dtype=np.float64) for weight in trained))
        off = difference_of_file(model, samples) if ranks.rank == 0 else 0.0
        results[name] = loss, moved, total, off
        keras.backend.clear_session()
    return results


def difference_of_file(model, samples):
    """The largest difference of a probability after saving and loading."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        loaded = keras.saving.load_model(f"{folder}/model.keras", compile=False, safe_mode=True)
    return float(np.abs(loaded(samples) - model(samples)).max())


def test_every_architecture_takes_a_step_on_two_ranks(spark):
    import horovod.spark

    first, second = horovod.spark.run(
        one_step_each,
        args=(list(ARCHITECTURES),),
        num_proc=2,
        use_gloo=True,
        nics={"lo"},
        verbose=0,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert list(first) == list(second) == list(ARCHITECTURES)
    for name in ARCHITECTURES:
        (loss, moved, weights, off), (other_loss, _, other_weights, _) = first[name], second[name]
        assert np.isfinite([loss, other_loss]).all(), name
        assert loss != other_loss, name  # each has its own samples
        assert moved > 0, name
        assert weights == other_weights, name  # and both the same network afterwards
        assert off < 1e-5, name
