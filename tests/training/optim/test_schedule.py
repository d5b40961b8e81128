"""Learning rates against their closed forms."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from convoy.config import OptimizerConfig, ScheduleConfig, TrainingConfig
from convoy.training.optim.optimizer import build_optimizer
from convoy.training.optim.schedule import Schedule, base_rate, learning_rate, rate_of_last_update

UPDATES, EPOCHS, RATE = 10, 20, 0.5


def rates(steps, **settings):
    schedule = Schedule(RATE, UPDATES, EPOCHS, **settings)
    return [float(schedule(step)) for step in steps]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"name": "constant"}, {0: 0.5, 199: 0.5}),
        ({"name": "cosine"}, {0: 0.5, 50: 0.5 * (1 + math.sqrt(0.5)) / 2, 100: 0.25, 200: 0.0}),
        ({"name": "cosine", "final_fraction": 0.2}, {0: 0.5, 100: 0.3, 200: 0.1, 300: 0.1}),
        ({"name": "step", "decay_epochs": 6}, {0: 0.5, 59: 0.5, 60: 0.05, 119: 0.05, 120: 0.005, 180: 0.0005}),
        ({"name": "exponential", "decay_factor": 0.9}, {0: 0.5, 10: 0.45, 25: 0.5 * 0.9**2.5, 190: 0.5 * 0.9**19}),
        ({"name": "one_cycle"}, {0: 0.02, 30: 0.26, 60: 0.5, 130: 0.250001, 200: 0.000002}),
    ],
)
def test_golden_rates(settings, expected):
    assert rates(expected, **settings) == pytest.approx(list(expected.values()), rel=1e-6, abs=1e-9)


@given(
    st.sampled_from(["constant", "cosine", "step", "exponential", "one_cycle"]),
    st.floats(0.1, EPOCHS),
    st.integers(0, UPDATES * EPOCHS - 1),
)
def test_warm_up_is_linear_and_then_the_schedule_begins(name, warmup_epochs, step):
    warmup = round(warmup_epochs * UPDATES)
    (rate,) = rates([step], name=name, warmup_epochs=warmup_epochs)
    (start,) = rates([0], name=name)
    if step < warmup:
        assert rate == pytest.approx(start * (step + 1) / warmup, rel=1e-6)
    else:
        assert 0 <= rate <= RATE
    if step == warmup:
        assert rate == pytest.approx(start, rel=1e-6)


def test_cosine_stretches_over_what_the_warm_up_leaves():
    assert rates([100, 150, 200], name="cosine", warmup_epochs=10) == pytest.approx([0.5, 0.25, 0.0])


def test_the_same_in_a_graph_with_keras_counter_and_exact_late_in_training():
    schedule = Schedule(RATE, 2**20, 64, **{"name": "exponential", "decay_factor": 0.5})
    step = 2**25 + 1  # float32 cannot count so far
    assert float(tf.function(schedule)(tf.constant(step, tf.int64))) == float(schedule(step))
    assert float(schedule(step)) == pytest.approx(RATE * 0.5 ** (step / 2**20), rel=1e-6)


def config(**settings):
    schedule = ScheduleConfig(**{key: settings.pop(key) for key in ("name", "warmup_epochs") if key in settings})
    return TrainingConfig(schedule=schedule, **settings)


def test_a_constant_rate_and_one_that_plateaus_are_numbers():
    assert learning_rate(config(), 1000) == 0.001
    assert learning_rate(config(name="plateau", warmup_epochs=1), 1000) == 0.001
    assert isinstance(learning_rate(config(warmup_epochs=1), 1000), Schedule)


@pytest.mark.parametrize(
    ("names", "rate"),
    [
        ("sgd momentum nesterov adagrad", 0.01),
        ("adam adamw rmsprop", 0.001),
        ("adadelta", 1.0),
        ("lion", 0.0001),
    ],
)
def test_usual_rates(names, rate):
    for name in names.split():
        assert base_rate(OptimizerConfig(name), 128) == rate
        assert float(build_optimizer(OptimizerConfig(name)).learning_rate.numpy()) == pytest.approx(rate)


def test_linear_scaling_counts_all_samples_of_an_update():
    scaled = OptimizerConfig("sgd", 0.1, scale_with_batch=256)
    assert learning_rate(config(optimizer=scaled, global_batch_size=512, accumulation_steps=4), 9) == pytest.approx(0.8)
    assert learning_rate(config(optimizer=OptimizerConfig("sgd", 0.1), global_batch_size=512), 9) == 0.1


def test_the_schedule_counts_updates_not_steps():
    training = config(name="cosine", epochs=2, global_batch_size=10, accumulation_steps=3)
    schedule = learning_rate(training, 95)  # ten steps, four updates an epoch
    assert float(schedule(4)) == pytest.approx(0.0005)


@pytest.mark.parametrize("scale_loss", [False, True])
def test_reported_rate_is_that_of_the_last_update(scale_loss):
    schedule = learning_rate(config(name="cosine", epochs=4, global_batch_size=10), 20)
    optimizer = build_optimizer(OptimizerConfig("sgd"), schedule, scale_loss=scale_loss)
    variable = keras.Variable(1.0)
    optimizer.build([variable])
    for update in range(5):
        before = float(variable.numpy())
        optimizer.apply([optimizer.scale_loss(tf.constant(1.0))])
        assert rate_of_last_update(optimizer) == pytest.approx(before - float(variable.numpy()), abs=1e-7)
        assert rate_of_last_update(optimizer) == float(schedule(update))


def test_a_restored_optimizer_continues_the_schedule():
    schedule = learning_rate(config(name="one_cycle", epochs=4, global_batch_size=10), 20)
    first, second = (build_optimizer(OptimizerConfig("adam"), schedule) for _ in range(2))
    variable = keras.Variable(1.0)
    for optimizer in (first, second):
        optimizer.build([variable])
    for _ in range(3):
        first.apply([tf.constant(1.0)])
    for ours, theirs in zip(second.variables, first.variables, strict=True):
        ours.assign(theirs)
    np.testing.assert_array_equal(second.learning_rate.numpy(), first.learning_rate.numpy())
    assert float(second.learning_rate.numpy()) == float(schedule(3))
