"""Training on real Horovod ranks, compared with one process: the number of ranks changes speed, not mathematics."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest

from convoy.config import (
    EarlyStoppingConfig,
    HorovodConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainingConfig,
)
from convoy.dataset.reading.examples import read_split
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ClusterError
from convoy.models.builder import build
from convoy.models.layers.blocks import normalise
from convoy.training.distributed.launch import launch
from convoy.training.events import EarlyStopped, Epoch, Event, RankEpoch, System
from convoy.training.loop import TrainTask, load_trained
from convoy.training.optim.losses import crossentropy

pytestmark = [pytest.mark.spark, pytest.mark.e2e]


def train(spark, dataset: Path, workers: int, **settings):
    options = {"epochs": 2, "global_batch_size": 40, "optimizer": OptimizerConfig("sgd", 0.05), **settings}
    task = TrainTask(str(dataset), ModelConfig(), TrainingConfig(num_workers=workers, **options), build, 1)
    events: list[Event] = []
    trained = launch(spark, task, events.append)
    return trained, [event.metrics for event in events if isinstance(event, Epoch)]


@pytest.fixture(scope="module")
def batch(dataset) -> int:
    """Leaves a last batch of one sample: the hard case, since two of three ranks have none, and slices are uneven."""
    rows = Manifest.load(dataset).rows()["train"]
    return next(size for size in range(31, rows) if rows % size == 1 and size % 3)


@pytest.fixture(scope="module")
def three_ranks(spark, dataset, batch):
    return train(spark, dataset, 3, global_batch_size=batch)


@pytest.mark.long
def test_three_ranks_with_uneven_and_empty_slices_compute_what_one_does(spark, dataset, batch, three_ranks):
    # One rank rather than num_workers 0, which would take this process's TensorFlow settings.
    single, expected = train(spark, dataset, 1, global_batch_size=batch)
    several, measured = three_ranks
    for one, three in zip(expected, measured, strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert three[name] == pytest.approx(one[name], abs=1e-4), name
    for a, b in zip(load_trained(single).get_weights(), load_trained(several).get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.long
def test_the_same_seed_gives_the_same_weights_bit_by_bit(spark, dataset, batch, three_ranks):
    again, _ = train(spark, dataset, 3, global_batch_size=batch)
    assert again.weights_sha256 == three_ranks[0].weights_sha256


def test_the_trained_model_keeps_no_trace_of_horovod_or_of_the_optimizer(three_ranks):
    model = load_trained(three_ranks[0])
    assert not model.compiled
    assert b"horovod" not in three_ranks[0].keras_file.lower()
    assert b"Distributed" not in three_ranks[0].keras_file


def test_validation_metrics_are_those_of_the_whole_split(dataset, three_ranks):
    trained, metrics = three_ranks
    data = read_split(dataset, Manifest.load(dataset), "validation")
    predicted = load_trained(trained).predict(data.images, verbose=0).argmax(axis=1)
    assert metrics[-1]["val_accuracy"] == pytest.approx((predicted == data.labels).mean(), abs=1e-6)


def test_more_ranks_than_slots_are_refused_at_once(spark, dataset):
    with pytest.raises(
        ClusterError, match=r"num_workers is 9, but Spark \(master local\[4\]\) can run 4 tasks at once"
    ):
        train(spark, dataset, 9)


def explode(*_):
    """Stands for a bug in a network's code."""
    raise ZeroDivisionError(f"a bug, in process {os.getpid() > 0}")


@pytest.mark.long
def test_a_bug_on_a_rank_comes_back_with_its_traceback(spark, dataset):
    task = TrainTask(str(dataset), ModelConfig(), TrainingConfig(num_workers=1, epochs=1), explode, 1)
    with pytest.raises(RuntimeError, match=r"(?s)a rank failed:.*ZeroDivisionError: a bug, in process True"):
        launch(spark, task, lambda event: None)


def batch_normalised(name, shape, classes, mean, std, dtype):
    image = keras.Input(shape, dtype=dtype)
    x = keras.layers.Flatten()(normalise(image, mean, std))
    x = keras.layers.BatchNormalization(momentum=0.5)(keras.layers.Dense(8)(x))
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax")(x))


@pytest.mark.long
def test_everything_together_on_two_ranks(spark, dataset, tmp_path, monkeypatch):
    """What was validated is what is saved: moving statistics, moving averages, the best epoch, 16 bits.

    Ranks reach no tracking store: here it has nobody's address (https://www.rfc-editor.org/rfc/rfc5737).
    """
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://192.0.2.1:5000")
    timeline = tmp_path / "timeline.json"
    config = TrainingConfig(
        num_workers=2,
        epochs=4,
        global_batch_size=20,
        accumulation_steps=3,
        optimizer=OptimizerConfig("nesterov", 0.05, clip_norm=1.0, ema_momentum=0.8),
        schedule=ScheduleConfig("cosine", warmup_epochs=1),
        label_smoothing=0.1,
        precision="mixed_float16",
        early_stopping=EarlyStoppingConfig(patience=1, monitor="val_accuracy", min_delta=0.9),  # epoch 1 is the best
        horovod=HorovodConfig(compression="fp16", fusion_threshold_mb=1, cycle_time_ms=2, timeline=str(timeline)),
    )
    events = []
    task = TrainTask(str(dataset), ModelConfig(), config, batch_normalised, 1)
    trained = launch(spark, task, events.append)
    epochs = [event.metrics for event in events if isinstance(event, Epoch)]
    assert len(epochs) == 2
    stopped = [event for event in events if isinstance(event, EarlyStopped)]
    assert stopped[-1] == EarlyStopped(0, 1, "val_accuracy")
    measured = {(event.epoch, event.rank): event.metrics for event in events if isinstance(event, RankEpoch)}
    assert sorted(measured) == [(0, 0), (0, 1), (1, 0), (1, 1)]  # from both ranks, each over its own connection
    for metrics in measured.values():
        assert 0 < metrics["data_wait_share"] + metrics["communication_share"] < 1 + 1e-9  # on a busy machine all of it
        assert 100 < metrics["memory_mb"] <= metrics["memory_peak_mb"]
    assert measured[1, 0]["communication_share"] > 0
    assert {event.rank for event in events if isinstance(event, System)} == {0, 1}
    assert epochs[0]["learning_rate"] == pytest.approx(0.05)
    data = read_split(dataset, Manifest.load(dataset), "validation")
    model = load_trained(trained)
    assert b"Schedule" not in trained.keras_file
    assert {layer.compute_dtype for layer in model.layers if layer.name != "image"} - {"uint8"} == {"float32"}
    predicted = model.predict(data.images, verbose=0)
    best = np.sort(predicted, axis=1)
    undecided = (best[:, -1] - best[:, -2] < 0.01).mean()  # in 16 bits these may be of another class
    accuracy = (predicted.argmax(axis=1) == data.labels).mean()
    assert epochs[0]["val_accuracy"] == pytest.approx(accuracy, abs=undecided + 1e-6)
    loss = crossentropy(0.1)(data.labels, predicted).numpy().mean()
    assert epochs[0]["val_loss"] == pytest.approx(loss, rel=5e-3)  # validated in 16 bits, saved in 32
    assert "ALLREDUCE" in timeline.read_text()
