"""The learning-rate finder: what it proposes of a curve, and that all ranks measure one curve together."""

import math
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.config import EarlyStoppingConfig, ModelConfig, OptimizerConfig, ScheduleConfig, TrainingConfig
from convoy.config.optimizer import USUAL_RATES
from convoy.models.layers.blocks import normalise
from convoy.training import loop
from convoy.training.distributed.collective import SingleProcess
from convoy.training.loop import TrainTask
from convoy.training.optim.lr_finder import Sweep, find_rate, smoothed
from tests.dataset.versions import CLASSES, write_version

pytestmark = pytest.mark.long

RATES = tuple(map(float, np.geomspace(1e-7, 10, 120)))


def curve(lowest, depth=1.5, first=2.3):
    """Flat, then falling to ``first - depth`` at ``lowest``, then rising steeply."""
    at = np.log10(np.array(RATES) / lowest)
    return [float(first - depth * math.exp(-(x**2)) if x < 0 else first - depth + 3 * x**2) for x in at]


@given(st.floats(-5, 0.5), st.floats(0.5, 2.0), st.integers(0, 1000))
def test_the_place_of_steepest_descent_is_proposed_whatever_the_noise(exponent, depth, seed):
    noise = 0.05 * depth * np.random.default_rng(seed).normal(size=len(RATES))
    losses = tuple(float(loss + n) for loss, n in zip(curve(10**exponent, depth), noise, strict=True))
    suggestion = Sweep(RATES, losses, 2.3).suggestion
    assert suggestion is not None
    assert abs(math.log10(suggestion) - (exponent - math.sqrt(0.5))) < 0.45  # where -x exp(-x^2) is largest


def test_falling_back_from_a_peak_behind_the_lowest_loss_is_no_descent():
    losses = curve(1e-4)
    peak = next(i for i, rate in enumerate(RATES) if rate > 0.01)
    losses[peak : peak + 12] = [9.0, 9.0, 9.0, 9.0, *[3.0] * 8]
    suggestion = Sweep(RATES, tuple(losses), 2.3).suggestion
    assert suggestion is not None
    assert suggestion < 1e-4


@given(st.integers(0, 1000))
def test_nothing_is_proposed_where_the_loss_does_not_fall(seed):
    noise = 0.06 * np.random.default_rng(seed).normal(size=len(RATES))
    assert Sweep(RATES, tuple(map(float, 2.3 + noise)), 2.3).suggestion is None


def test_losses_that_are_not_finite_are_left_out():
    losses = [*curve(1e-2)[:-1], math.nan]
    sweep = Sweep(RATES, tuple(losses), 2.3)
    assert len(sweep.smoothed) == len(RATES) - 1
    assert sweep.suggestion == pytest.approx(2e-3, rel=0.3)
    assert Sweep(RATES[:1], (math.nan,), 2.3).suggestion is None


def test_the_linear_scaling_rule_is_taken_off():
    one, scaled = (Sweep(RATES, tuple(curve(1e-2)), 2.3, scale).suggestion for scale in (1.0, 4.0))
    assert one is not None
    assert scaled == pytest.approx(one / 4, rel=0.05)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=len(RATES)))
def test_smoothing_is_a_mean_of_neighbours(losses):
    means = smoothed(RATES, losses)
    assert len(means) == len(losses)
    assert min(losses) - 1e-9 <= means.min()
    assert means.max() <= max(losses) + 1e-9
    np.testing.assert_allclose(smoothed(RATES, [3.0] * len(losses)), 3.0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    samples = [(f"{i}.png", f"{i:032d}", "train", CLASSES[i % 2]) for i in range(49)]
    samples += [(f"v{i}.png", f"{i + 900:032d}", "validation", CLASSES[i % 2]) for i in range(9)]
    statistics = {"pixel_mean": [128.0], "pixel_std": [74.0]}
    return write_version(tmp_path_factory.mktemp("data"), "aaa", samples, pixels=np.random.default_rng(0), **statistics)


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    """TensorFlow's threads can be set once per process only."""
    monkeypatch.setattr(loop.tf.config.threading, "set_intra_op_parallelism_threads", lambda _: None)
    monkeypatch.setattr(loop.tf.config.threading, "set_inter_op_parallelism_threads", lambda _: None)


def network(name, shape, classes, mean, std, dtype="uint8"):
    image = keras.Input(shape, dtype=dtype)
    first, second = (keras.initializers.GlorotUniform(seed) for seed in (1, 2))  # threads share the process' draws
    x = keras.layers.Dense(8, "tanh", kernel_initializer=first)(keras.layers.Flatten()(normalise(image, mean, std)))
    return keras.Model(image, keras.layers.Dense(classes, "softmax", kernel_initializer=second)(x))


def sweep(dataset, collective=None, **settings):
    options = {"num_workers": 0, "global_batch_size": 8, "optimizer": OptimizerConfig("sgd"), **settings}
    task = TrainTask(str(dataset), ModelConfig(), TrainingConfig(**options), network, 0)
    return find_rate(task, collective or SingleProcess(), lambda _: None)


@pytest.mark.train
@pytest.mark.parametrize("steps", [pytest.param(1, marks=pytest.mark.long), 3])
def test_three_ranks_measure_what_one_does(dataset, on_ranks, steps):
    """Seven steps an epoch, the last of one sample: two ranks have none of it."""
    alone = sweep(dataset, accumulation_steps=steps)
    several, *others = on_ranks(3, lambda ranks: sweep(dataset, ranks, accumulation_steps=steps))
    assert others == [None, None]
    same = 70  # later losses are chaotic, and decide when it ends
    assert several.rates[:same] == alone.rates[:same]
    np.testing.assert_allclose(several.losses[:same], alone.losses[:same], rtol=1e-3)
    assert several.first == pytest.approx(alone.first, rel=1e-5)


@pytest.mark.train
def test_the_first_updates_are_too_small_to_change_anything(dataset):
    found = sweep(dataset, global_batch_size=49)  # always the same batch
    np.testing.assert_allclose(found.losses[:10], found.first, rtol=1e-4)
    assert len(found.rates) == len(found.losses) <= 99
    assert found.suggestion is not None
    assert found.smoothed.min() < 0.8 * found.first


@pytest.mark.train
@pytest.mark.parametrize(
    "name", [name if name == "adam" else pytest.param(name, marks=pytest.mark.long) for name in USUAL_RATES]
)
def test_it_works_with_every_optimizer_and_leaves_the_schedule_out(dataset, name):
    found = sweep(
        dataset,
        global_batch_size=49,
        optimizer=OptimizerConfig(name, ema_momentum=0.9),
        schedule=ScheduleConfig("one_cycle", warmup_epochs=1),
        early_stopping=EarlyStoppingConfig(patience=1),
    )
    plain = sweep(dataset, global_batch_size=49, optimizer=OptimizerConfig(name))
    assert found == plain
    assert len(found.losses) > 50


@pytest.mark.train
def test_it_ends_where_the_loss_diverges(dataset):
    found = sweep(dataset, global_batch_size=49, optimizer=OptimizerConfig("lion"))
    assert len(found.losses) < 99
    assert found.rates[-1] < 10
