"""The optimizers of the configuration, alone and over ranks."""

from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from convoy.config import OptimizerConfig
from convoy.config.training import OptimizerName
from convoy.dataset.plan import gradient_weight, rank_slice
from convoy.training.collective import SingleProcess
from convoy.training.optimizer import build_optimizer, distribute

NAMES = get_args(OptimizerName)


def gradients(steps=5):
    return np.random.default_rng(0).normal(size=(steps, 4)).astype(np.float32)


def descend(optimizer, steps):
    variable = keras.Variable(np.ones(4, np.float32), name="x")
    for gradient in steps:
        optimizer.apply([tf.constant(gradient)], [variable])
    return variable.numpy()


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_has_its_rate_and_descends(name):
    optimizer = build_optimizer(OptimizerConfig(name, 0.01))
    assert float(optimizer.learning_rate) == pytest.approx(0.01)
    assert (descend(optimizer, np.ones((3, 4), np.float32)) < 1).all()


def test_nesterov_differs_from_plain_sgd():
    nesterov, sgd = (descend(build_optimizer(OptimizerConfig(name, 0.1)), gradients()) for name in ("nesterov", "sgd"))
    assert not np.allclose(nesterov, sgd)


@pytest.mark.parametrize("name", NAMES)
def test_in_one_process_nothing_changes(name):
    plain = build_optimizer(OptimizerConfig(name, 0.01))
    distributed = distribute(build_optimizer(OptimizerConfig(name, 0.01)), SingleProcess())
    assert np.array_equal(descend(plain, gradients()), descend(distributed, gradients()))
    assert [variable.name for variable in plain.variables] == [variable.name for variable in distributed.variables]
    assert plain.get_config() == distributed.get_config() | {"name": plain.name}


def test_missing_gradient_stays_missing():
    optimizer = distribute(build_optimizer(OptimizerConfig("sgd", 0.1)), SingleProcess())
    used, unused = keras.Variable(1.0), keras.Variable(1.0)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([tf.constant(1.0), None], [used, unused])
    assert float(used) == pytest.approx(0.9)
    assert float(unused) == 1


@settings(max_examples=10)
@given(st.integers(1, 9), st.integers(2, 4), st.integers(0, 100))
def test_ranks_with_unequal_parts_step_by_the_mean_over_all_samples(on_ranks, batch, ranks, seed):
    samples = np.random.default_rng(seed).normal(size=(batch, 4)).astype(np.float32)

    def step(rank):
        own = samples[rank_slice(batch, rank.rank, ranks)]
        optimizer = distribute(build_optimizer(OptimizerConfig("sgd", 1.0)), rank)
        optimizer.gradient_weight.assign(gradient_weight(batch, batch, 0, rank.rank, ranks))
        return descend(optimizer, [own.mean(axis=0) if len(own) else np.zeros(4, np.float32)])

    for result in on_ranks(ranks, step):
        np.testing.assert_allclose(result, 1 - samples.mean(axis=0), atol=1e-5)
