"""What ranks measure of their steps, and that measuring changes nothing."""

import math
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from convoy.config import OptimizerConfig
from convoy.training.callbacks import timing as timing_module
from convoy.training.callbacks.timing import Stopwatch, Timing, machine, memory, time_fetches, times
from convoy.training.checkpoint.step_counter import StepCounter, StepCounterCallback
from convoy.training.distributed.collective import SingleProcess
from convoy.training.events import RankEpoch, System
from convoy.training.optim.optimizer import build_optimizer, distribute

pytestmark = pytest.mark.long

seconds = st.floats(0, 100)


@given(st.lists(st.floats(1e-6, 10), min_size=1), seconds, st.floats(-1, 100), st.integers(0, 10**6))
def test_shares_are_of_the_whole_and_never_more_than_it(steps, fetching, communicating, images):
    result = times([5.0, *(5.0 + np.cumsum(steps))], images, fetching, communicating)
    assert 0 <= result["data_wait_share"] <= 1
    assert result["communication_share"] >= 0
    assert result["data_wait_share"] + result["communication_share"] <= 1
    assert result["images_per_second"] == pytest.approx(images / sum(steps), rel=1e-3)
    assert 1000 * min(steps) * 0.99 <= result["step_ms"] <= result["step_ms_p95"] <= 1000 * max(steps) * 1.01


def test_times_of_four_steps():
    assert times([10.0, 11.0, 12.0, 13.0, 17.0], 70, 1.4, 0.35) == pytest.approx(
        {
            "images_per_second": 10,
            "step_ms": 1000,
            "step_ms_p95": 1000 + 0.85 * 3000,
            "data_wait_share": 0.2,
            "communication_share": 0.2,
        }
    )


def test_a_stopwatch_measures_its_part_of_a_graph_when_switched_on(monkeypatch):
    class Clock:
        now = 1000.0

        def perf_counter(self):
            return self.now

    watch, clock = Stopwatch(), Clock()
    monkeypatch.setattr(timing_module, "time", clock)

    def slowly(value):
        clock.now += 0.05
        return value

    def sleep(value):
        result = tf.numpy_function(slowly, [value], tf.float32)
        result.set_shape(value.shape)
        return result

    @tf.function
    def graph(value):
        before = sleep(value)
        [inside, nothing] = watch.around([before, None], lambda: [sleep(before) + 1, None])
        assert nothing is None
        return sleep(inside)

    assert float(graph(tf.constant(1.0))) == 2
    assert watch.seconds == 0
    watch.switch(True)
    for _ in range(3):
        assert float(graph(tf.constant(1.0))) == 2
    assert watch.seconds == pytest.approx(0.15)
    watch.switch(False)
    told = watch.seconds
    graph(tf.constant(1.0))
    assert watch.seconds == told


class SlowRanks(SingleProcess):
    """Gradients take a while to be averaged."""

    rank, size = 1, 3

    def average_gradients(self, gradients):
        def slow(*values):
            time.sleep(0.02)
            return values

        averaged = tf.nest.flatten(tf.numpy_function(slow, gradients, [g.dtype for g in gradients]))
        for value, gradient in zip(averaged, gradients, strict=True):
            value.set_shape(gradient.shape)
        return averaged


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)])


GENERATOR = np.random.default_rng(0)
X, Y = GENERATOR.normal(size=(20, 4)).astype(np.float32), GENERATOR.normal(size=(20, 3)).astype(np.float32)


def batches(delay=0.0):
    """Of 6, 6, 6 and 2 samples, each after ``delay`` seconds."""

    def generate():
        while True:
            for start in range(0, 20, 6):
                time.sleep(delay)
                yield X[start : start + 6], Y[start : start + 6]

    return tf.data.Dataset.from_generator(
        generate, output_signature=(tf.TensorSpec((None, 4), tf.float32), tf.TensorSpec((None, 3), tf.float32))
    )


def fit(model, collective, data, accumulation_steps=1, epochs=2):
    optimizer = distribute(build_optimizer(OptimizerConfig("adam", 0.1)), collective, accumulation_steps)
    model.compile(optimizer, "mse", jit_compile=False)
    fetching = time_fetches(model)
    events = []
    position = StepCounter(4)
    timing = Timing(events.append, collective, 20, 6, position, fetching, optimizer.communication)
    model.fit(
        data,
        epochs=epochs,
        steps_per_epoch=4,
        validation_data=(X, Y),
        callbacks=[StepCounterCallback(position), timing],
        verbose=0,
        shuffle=False,
    )
    return events


@pytest.mark.train
@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_measuring_changes_no_bit_of_the_result(accumulation_steps, monkeypatch):
    measured, plain = network(), network()
    keras.utils.set_random_seed(1)
    fit(measured, SlowRanks(), batches(), accumulation_steps)
    monkeypatch.setattr("convoy.training.callbacks.timing.Stopwatch.around", lambda self, inputs, work: work())
    optimizer = distribute(build_optimizer(OptimizerConfig("adam", 0.1)), SlowRanks(), accumulation_steps)
    plain.compile(optimizer, "mse", jit_compile=False)
    keras.utils.set_random_seed(1)
    plain.fit(batches(), epochs=2, steps_per_epoch=4, verbose=0, shuffle=False)
    for a, b in zip(measured.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.train
def test_every_epoch_of_a_rank_is_told_with_where_its_time_went():
    began = time.perf_counter()
    events = fit(network(), SlowRanks(), batches(0.06), epochs=4)
    whole = time.perf_counter() - began
    epochs = [event for event in events if isinstance(event, RankEpoch)]
    assert [(event.epoch, event.rank, event.ranks) for event in epochs] == [(n, 1, 3) for n in range(4)]
    metrics = epochs[-1].metrics
    time_of_epoch = 7 / metrics["images_per_second"]  # the second of three has 2, 2, 2 and 1 of 6, 6, 6 and 2 samples
    assert 4 * 0.02 < time_of_epoch < whole
    assert metrics["step_ms_p95"] >= metrics["step_ms"] > 20
    # What a busy machine adds may hide these times in one epoch, but not in all; the first one traces.
    later = [event.metrics for event in epochs[1:]]
    assert max(7 * each["communication_share"] / each["images_per_second"] for each in later) > 3 * 0.02
    assert max(each["data_wait_share"] for each in later) > 0.2
    assert 50 < metrics["memory_mb"] <= metrics["memory_peak_mb"]
    samples = [event for event in events if isinstance(event, System)]
    assert [event.rank for event in samples] == [1]


def test_memory_and_machine_are_in_megabytes_and_percent():
    held = np.ones(100 * 2**20, np.uint8)
    with_it = memory()
    del held
    without = memory()
    assert with_it["memory_mb"] - without["memory_mb"] == pytest.approx(105, abs=30)
    assert without["memory_peak_mb"] >= with_it["memory_mb"] - 5
    state = machine()
    assert 0 <= state["cpu_utilization_percentage"] <= 100
    assert state["system_memory_usage_megabytes"] > without["memory_mb"] / 2
    assert all(map(math.isfinite, (with_it | state).values()))
