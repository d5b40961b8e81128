"""Plateaus and early stopping."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from convoy.config import EarlyStoppingConfig, OptimizerConfig, ScheduleConfig
from convoy.training.callbacks.early_stopping import EarlyStopping, Patience, ReduceLROnPlateau
from convoy.training.callbacks.ema import ValidateAverages
from convoy.training.events import EarlyStopped
from convoy.training.optim.optimizer import build_optimizer

pytestmark = pytest.mark.long

NUMBERS = st.integers(0, 6).map(lambda value: value / 2)


def model(config=None, scale_loss=False):
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    network.compile(build_optimizer(config or OptimizerConfig("sgd", 1.0), scale_loss=scale_loss), "mse")
    return network


def attach(callback, network):
    callback.set_model(network)
    callback.on_train_begin()
    return callback


@settings(max_examples=30)
@given(st.lists(NUMBERS, max_size=30), st.integers(1, 4))
def test_plateau_lowers_the_rate_as_keras_does(losses, patience):
    ours, keras_own = model(), model()
    settings = ScheduleConfig("plateau", patience=patience, decay_factor=0.5)
    callbacks = [
        attach(ReduceLROnPlateau(settings, 1.0, 10), ours),
        attach(keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=patience, min_lr=0), keras_own),
    ]
    for epoch, loss in enumerate(losses):
        for callback in callbacks:
            callback.on_epoch_end(epoch, {"val_loss": loss})
        assert ours.optimizer.learning_rate.numpy() == keras_own.optimizer.learning_rate.numpy()


@pytest.mark.parametrize("scale_loss", [False, True])
def test_plateau_warms_up_first_and_loses_no_patience_meanwhile(scale_loss):
    network = model(scale_loss=scale_loss)
    network.optimizer.build(network.trainable_variables)
    callback = attach(ReduceLROnPlateau(ScheduleConfig("plateau", warmup_epochs=2, patience=1), 1.0, 2), network)
    rates = []
    for epoch in range(5):
        for step in range(2):
            callback.on_train_batch_begin(step)
            rates.append(float(network.optimizer.learning_rate.numpy()))
            network.optimizer.apply([network.optimizer.scale_loss(tf.zeros((1, 1)))])
        callback.on_epoch_end(epoch, {"val_loss": 1.0})
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01][: len(rates)], rel=1e-6)


@given(st.lists(NUMBERS | st.just(float("nan")), min_size=1, max_size=30), st.integers(1, 4), st.booleans())
def test_patience_ends_at_the_first_run_of_epochs_without_a_new_best(values, epochs, rising):
    patience = Patience(epochs, 0.0, rising=rising)
    bests = [patience.update(value) for value in values if not patience.exhausted]
    seen = values[: len(bests)]
    for i, (value, best) in enumerate(zip(seen, bests, strict=True)):
        before = [other for other in seen[:i] if other == other]
        better = value == value and all(value > other if rising else value < other for other in before)
        assert best == better
    waits = [sum(1 for _ in group) for is_best, group in itertools.groupby(bests) if not is_best]
    assert patience.exhausted == (bool(waits) and not bests[-1] and waits[-1] >= epochs)
    assert all(wait <= epochs for wait in waits)


def test_a_resumed_patience_goes_on_where_it_was():
    first, second = Patience(3, 0.1), Patience(3, 0.1)
    for value in (1.0, 0.95):
        first.update(value)
    second.restore(first.state())
    for value in (0.92, 0.91):
        assert not first.update(value)
        assert not second.update(value)
    assert first.exhausted
    assert second.exhausted


def stopped(losses, ema, **settings):
    """Fit with made-up validation losses; returns the event, the final weight and the validated one of each epoch."""
    events, validated = [], []
    network = model(OptimizerConfig("sgd", 0.1, ema_momentum=0.5 if ema else None))
    network.set_weights([np.zeros((1, 1), np.float32)])

    class MadeUp(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            validated.append(float(network.get_weights()[0][0, 0]))

        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = losses[epoch]

    callbacks = [MadeUp(), *([ValidateAverages()] if ema else [])]
    callbacks.append(EarlyStopping(EarlyStoppingConfig(**settings), events.append))
    x, y = np.ones((4, 1), np.float32), np.ones((4, 1), np.float32)
    network.fit(x, y, epochs=len(losses), validation_data=(x, y), callbacks=callbacks, verbose=0)
    return events, float(network.get_weights()[0][0, 0]), validated


@pytest.mark.train
@pytest.mark.parametrize("ema", [False, True])
def test_early_stopping_brings_back_the_weights_that_were_validated_best(ema):
    (event,), final, validated = stopped([3.0, 2.0, 2.5, 2.5, 1.0], ema, patience=2)
    assert event == EarlyStopped(1, 3, "val_loss")
    assert len(validated) == 4
    assert final == validated[1]
    assert len(set(validated)) == 4


@pytest.mark.train
@pytest.mark.parametrize("ema", [False, True])
def test_without_restoring_the_last_validated_weights_stay(ema):
    (event,), final, validated = stopped([3.0, 2.0, 2.5, 2.5, 1.0], ema, patience=2, restore_best=False)
    assert event.epoch is None
    assert event.stopped == 3
    assert final == validated[-1]


@pytest.mark.train
def test_the_best_is_kept_where_training_ends_by_itself():
    (event,), final, validated = stopped([3.0, 2.0, 2.5], False, patience=2)
    assert event == EarlyStopped(1, None, "val_loss")
    assert final == validated[1]


@pytest.mark.train
def test_validating_the_averages_leaves_the_trained_weights_bit_by_bit():
    network = model(OptimizerConfig("sgd", 0.1, ema_momentum=0.9))
    x, y = np.ones((4, 1), np.float32), np.full((4, 1), 3, np.float32)
    network.fit(x, y, epochs=1, verbose=0)
    network.set_weights([np.full((1, 1), 1.1, np.float32)])
    network.evaluate(x, y, callbacks=[ValidateAverages()], verbose=0)
    assert network.get_weights()[0] == np.float32(1.1)
