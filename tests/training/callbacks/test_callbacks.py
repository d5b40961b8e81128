"""Training over ranks computes exactly what one process does, and says what happens."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from convoy.config import ModelConfig, OptimizerConfig
from convoy.dataset.reading.epoch_plan import epoch_order, rank_shares, steps_per_epoch
from convoy.dataset.reading.examples import SplitArrays
from convoy.dataset.reading.split_reader import Batch
from convoy.dataset.reading.tf_data import to_tf
from convoy.errors import TrainingError
from convoy.models.layers.blocks import conv2d, normalise, pool2d
from convoy.models.rewrite import with_options
from convoy.training.callbacks.global_metrics import GlobalMetrics
from convoy.training.callbacks.progress_reporter import ProgressReporter
from convoy.training.callbacks.terminate_on_nan import TerminateOnNaN
from convoy.training.checkpoint.step_counter import StepCounter, StepCounterCallback
from convoy.training.distributed.collective import SingleProcess
from convoy.training.events import Alive, Epoch, Step
from convoy.training.optim.losses import accuracy, crossentropy
from convoy.training.optim.optimizer import build_optimizer, distribute
from tests.conftest import noise

pytestmark = pytest.mark.train

EPOCHS, BATCH = 2, 8


def data(rows, seed):
    return SplitArrays(noise(rows, 6, 6, 1, seed=seed), np.random.default_rng(seed).integers(0, 3, rows, np.int32))


def batches_of(data, orders, batch, collective):
    """A rank's (images, labels) of the global batches of these orders, one for each epoch."""

    def part(rows):
        return Batch(data.images[rows], data.labels[rows], None, rows)

    parts = [
        part(order[share.own])
        for order in orders
        for share in rank_shares(len(order), batch, collective.rank, collective.size)
    ]
    dataset = to_tf(lambda: iter(parts), part(np.zeros(1, np.int64)), len(parts))
    return dataset.map(lambda batch: (batch["images"], batch["labels"]))


@functools.cache
def initial_weights():
    keras.utils.set_random_seed(0)
    return network().get_weights()


def network():
    images = keras.Input((6, 6, 1), dtype="uint8")
    x = conv2d(normalise(images, [128.0], [74.0]), 3, 3, activation="tanh", name="c1")
    x = pool2d(conv2d(x, 4, 3, activation="relu", name="c2"), 2, kind="max", name="pool")
    x = keras.layers.Dense(3, activation="softmax", name="output")(keras.layers.Flatten(name="flatten")(x))
    return keras.Model(images, x)


def fit(collective, rows, validation_rows, callbacks=(), name="nesterov", rate=0.1, batch=BATCH, steps=1, **options):
    """Train as a rank does, ``steps`` of ``batch`` samples an update; returns its model and the history of its logs."""
    smoothing, soft, l2 = options.pop("smoothing", 0.0), options.pop("soft", False), options.pop("l2", 0.0)
    train, validation = data(rows, 1), data(validation_rows, 2)
    model = with_options(network(), ModelConfig(l2=l2), 3)
    model.set_weights(initial_weights())
    optimizer = distribute(build_optimizer(OptimizerConfig(name, rate, **options)), collective, steps)
    model.compile(optimizer, crossentropy(smoothing), metrics=[accuracy], jit_compile=False)
    orders = [epoch_order([rows], 7, epoch).order for epoch in range(EPOCHS)]
    batches = batches_of(train, orders, batch, collective)
    if soft:  # and a weight for each sample
        batches = batches.map(lambda x, y: (x, tf.one_hot(y, 3) * 0.7 + 0.1, 1.0 + tf.cast(y, tf.float32)))
    history = model.fit(
        batches,
        epochs=EPOCHS,
        steps_per_epoch=steps_per_epoch(rows, batch),
        validation_data=batches_of(validation, [np.arange(validation_rows)], batch, collective),
        callbacks=[
            StepCounterCallback(position := StepCounter(steps_per_epoch(rows, batch))),
            GlobalMetrics(collective, rows, validation_rows, batch, position, steps),
            *(callbacks(position) if callable(callbacks) else callbacks),
        ],
        shuffle=False,
        verbose=0,
    )
    return model, history.history


@pytest.mark.parametrize(
    ("ranks", "rows", "validation_rows", "options"),
    [
        pytest.param(2, 21, 11, {}, marks=pytest.mark.long),  # the last batches are shared 2 + 3 and 1 + 2
        (3, 17, 9, {"soft": True}),  # no batch can be shared evenly, and two ranks have no part in the last ones
    ],
)
def test_any_number_of_ranks_computes_what_one_process_does(on_ranks, ranks, rows, validation_rows, options):
    alone, expected = fit(SingleProcess(), rows, validation_rows, **options)
    together = on_ranks(ranks, lambda rank: fit(rank, rows, validation_rows, **options))
    for model, history in together:
        assert history.keys() == expected.keys() == {"loss", "accuracy", "val_loss", "val_accuracy"}
        for name, values in expected.items():
            np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
        for ours, theirs in zip(model.get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
        for ours, first in zip(model.get_weights(), together[0][0].get_weights(), strict=True):
            assert np.array_equal(ours, first)
    validation, (model, history) = data(validation_rows, 2), together[-1]
    probabilities = model(validation.images).numpy()
    loss = -np.log(probabilities[np.arange(validation_rows), validation.labels]).mean()
    assert history["val_loss"][-1] == pytest.approx(loss, rel=1e-5)
    assert history["val_accuracy"][-1] == pytest.approx(np.mean(probabilities.argmax(axis=1) == validation.labels))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"smoothing": 0.1, "clip_norm": 0.05}, marks=pytest.mark.long),
        pytest.param({"l2": 0.03}, marks=pytest.mark.long),
        {"soft": True, "smoothing": 0.2, "ema_momentum": 0.5, "weight_decay": 0.01},
    ],
)
def test_small_steps_on_two_ranks_train_as_the_large_batch_does_in_one_process(on_ranks, options):
    alone, expected = fit(SingleProcess(), 29, 9, batch=8, **options)
    for model, history in on_ranks(2, lambda rank: fit(rank, 29, 9, batch=4, steps=2, **options)):
        for name in ("val_loss", "val_accuracy"):  # those of training are taken between the updates
            np.testing.assert_allclose(history[name], expected[name], rtol=1e-5)
        for ours, theirs in zip(model.get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.long
def test_smoothed_labels_are_exact_over_ranks(on_ranks):
    _, expected = fit(SingleProcess(), 17, 9, smoothing=0.1)
    for _, history in on_ranks(3, lambda rank: fit(rank, 17, 9, smoothing=0.1)):
        for name, values in expected.items():
            np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)


@pytest.mark.long
def test_l2_penalty_counts_once_however_many_ranks_there_are(on_ranks):
    plain, _ = fit(SingleProcess(), 17, 9)
    alone, expected = fit(SingleProcess(), 17, 9, l2=0.03)
    assert not np.allclose(plain.get_weights()[-2], alone.get_weights()[-2], atol=1e-3)
    for model, history in on_ranks(2, lambda rank: fit(rank, 17, 9, l2=0.03)):
        for name, values in expected.items():
            np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
        for ours, theirs in zip(model.get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
    images, labels = (validation := data(9, 2)).images, validation.labels
    loss = -np.log(model(images).numpy()[np.arange(9), labels]).mean()
    penalty = 0.03 * sum(np.sum(model.get_layer(name).kernel.numpy() ** 2) for name in ("c1", "c2", "output"))
    assert history["val_loss"][-1] == pytest.approx(loss + penalty, rel=1e-5)


def test_report_tells_every_epoch_with_its_metrics_and_the_steps_on_the_way():
    events = []

    def reports(position):
        report = ProgressReporter(events.append, 20, EPOCHS, BATCH, position)
        report.every = 0.0
        return [report]

    _, history = fit(SingleProcess(), 20, 8, reports)
    kinds = [type(event) for event in events if not isinstance(event, Alive)]
    assert kinds == [Step, Step, Step, Epoch] * EPOCHS
    steps = [event for event in events if isinstance(event, Step)]
    assert [(e.epoch, e.step, e.steps, e.epochs) for e in steps] == [
        (epoch, step, 3, EPOCHS) for epoch in range(EPOCHS) for step in (1, 2, 3)
    ]
    assert all(event.images_per_second > 0 and math.isfinite(event.loss) for event in steps)
    for number, event in enumerate(event for event in events if isinstance(event, Epoch)):
        metrics = event.metrics
        assert (event.epoch, event.epochs) == (number, EPOCHS)
        assert event.seconds > 0
        assert metrics["images_per_second"] >= 20 / event.seconds  # validation is no part of it
        assert metrics["learning_rate"] == pytest.approx(0.1)
        for name, values in history.items():
            assert metrics[name] == values[number]
            assert type(metrics[name]) is float  # it goes into JSON


def test_report_tells_only_a_few_steps_a_second():
    events = []
    fit(SingleProcess(), 400, 8, lambda position: [ProgressReporter(events.append, 400, EPOCHS, BATCH, position)])
    seconds = sum(event.seconds for event in events if isinstance(event, Epoch))
    steps = [event for event in events if isinstance(event, Step)]
    assert 1 <= len(steps) <= 2 + seconds / 0.2
    assert len(steps) < EPOCHS * 50


def test_diverging_loss_ends_training_on_every_rank_with_the_epoch_and_a_remedy(on_ranks):
    def diverge(rank):
        with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in epoch \d+; lower .*learning_rate"):
            fit(rank, 20, 8, [TerminateOnNaN()], name="sgd", rate=1e30)
        return True

    assert on_ranks(2, diverge) == [True, True]


@pytest.mark.parametrize("sample", ["cats/17.npy", None])
def test_a_loss_that_is_no_number_names_the_sample_that_is_to_blame(sample):
    """See ``tests/dataset/test_finite.py`` for how it is found."""
    said = "'cats/17.npy', or its weight, is not finite in float32; remove it" if sample else "; lower training"
    with pytest.raises(TrainingError, match=rf"the loss is nan in epoch 3.*{said}"):
        TerminateOnNaN(lambda: sample).on_epoch_end(2, {"loss": math.nan})
    TerminateOnNaN(lambda: sample).on_epoch_end(2, {"loss": 1.0})
