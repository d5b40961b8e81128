"""The optimizers of the configuration, alone and over ranks."""

from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from convoy.config import OptimizerConfig
from convoy.config.optimizer import OptimizerName
from convoy.dataset.reading.epoch_plan import gradient_weight, rank_slice
from convoy.training.distributed.collective import SingleProcess
from convoy.training.optim.optimizer import build_optimizer, distribute

NAMES = get_args(OptimizerName)


def gradients(steps=5):
    return np.random.default_rng(0).normal(size=(steps, 4)).astype(np.float32)


def descend(optimizer, steps, start=(1.0, 1.0, 1.0, 1.0)):
    variable = keras.Variable(np.array(start, np.float32), name="x")
    for gradient in steps:
        optimizer.apply([tf.constant(gradient)], [variable])
    return variable.numpy()


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_has_its_rate_and_descends(name):
    optimizer = build_optimizer(OptimizerConfig(name, 0.01))
    assert float(optimizer.learning_rate.numpy()) == pytest.approx(0.01)
    assert (descend(optimizer, np.ones((3, 4), np.float32)) < 1).all()


def test_lion_adagrad_and_momentum_are_the_papers():
    steps = np.array([[1.0], [-2.0], [0.5]], np.float32)
    for name, expected in (
        ("lion", [1 - 0.1, 1 - 0.1 + 0.1, 1 - 0.1 + 0.1 - 0.1]),  # the sign of 0.9 m + 0.1 g, m of momentum 0.99
        ("momentum", [0.9, 1.01, 1.059]),
    ):
        results = [float(descend(build_optimizer(OptimizerConfig(name, 0.1)), steps[:n], [1.0])[0]) for n in (1, 2, 3)]
        assert results == pytest.approx(expected, abs=1e-6)


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
    assert float(used.numpy()) == pytest.approx(0.9)
    assert float(unused.numpy()) == 1


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


OPTIONS = [
    {"weight_decay": 0.1},
    {"clip_norm": 0.01},
    {"clip_value": 0.01},
    {"ema_momentum": 0.5},
]


@pytest.mark.parametrize("scale_loss", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_an_effect_and_survives_distribution(name, options, scale_loss):
    def end(options, distributed):
        optimizer = build_optimizer(OptimizerConfig(name, **options), scale_loss=scale_loss)
        optimizer = distribute(optimizer, SingleProcess()) if distributed else optimizer
        variable = keras.Variable(np.ones(4, np.float32), name="x")
        for gradient in gradients():
            optimizer.build([variable])
            optimizer.apply([optimizer.scale_loss(tf.constant(gradient))], [variable])
        optimizer.finalize_variable_values([variable])
        return variable.numpy()

    with_option = end(options, True)
    np.testing.assert_array_equal(with_option, end(options, False))
    scaled = name in ("sgd", "momentum", "nesterov")  # the others hardly see how long a gradient is, lion not at all
    if scaled or not options.keys() & ({"clip_norm", "clip_value"} if name == "lion" else {"clip_norm"}):
        assert not np.array_equal(with_option, end({}, True))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_momentum_is_an_option_of_the_sgd_family(momentum):
    for name in ("sgd", "momentum", "nesterov"):
        assert build_optimizer(OptimizerConfig(name, momentum=momentum)).momentum == momentum


@pytest.mark.parametrize("options", [{"clip_norm": 0.5}, {"clip_value": 0.2}])
def test_clipping_is_of_the_gradient_averaged_over_ranks(on_ranks, options):
    samples = np.array([[3, 0, 0, 0], [0, 4, 0, 1]], np.float32)

    def step(rank):
        own = samples[rank_slice(2, rank.rank, rank.size)]
        return 1 - descend(
            distribute(build_optimizer(OptimizerConfig("sgd", 1.0, **options)), rank), [own.mean(axis=0)]
        )

    (alone,) = on_ranks(1, step)
    for result in on_ranks(2, step):
        np.testing.assert_allclose(result, alone, atol=1e-6)
    if "clip_norm" in options:
        assert np.linalg.norm(alone) == pytest.approx(0.5)
        np.testing.assert_allclose(alone / 0.5, samples.mean(axis=0) / np.linalg.norm(samples.mean(axis=0)), atol=1e-5)
    else:
        np.testing.assert_allclose(alone, [0.2, 0.2, 0, 0.2], atol=1e-6)


def test_all_ranks_skip_a_step_whose_gradient_is_not_finite_on_one(on_ranks):
    """Or their loss scales would part, and one would wait for the others for ever."""

    def steps(rank):
        optimizer = distribute(build_optimizer(OptimizerConfig("sgd", 1.0), scale_loss=True), rank)
        variable = keras.Variable(np.zeros(1, np.float32))
        optimizer.build([variable])
        for bad in (None, 1, 0, None):
            gradient = tf.constant([np.inf if bad == rank.rank else 1.0 + rank.rank])
            optimizer.apply([optimizer.scale_loss(gradient)], [variable])
        return (
            float(variable[0]),
            float(optimizer.dynamic_scale.numpy()),
            int(optimizer.inner_optimizer.iterations.numpy()),
        )

    assert on_ranks(2, steps) == [(-3.0, 2.0**13, 2)] * 2
