"""The layers are looked at without a trace in training."""

import keras
import numpy as np
import pytest

from convoy.config import AugmentationConfig, ModelConfig, TrainingConfig
from convoy.dataset.reading.examples import Samples
from convoy.models.builder import build
from convoy.training.callbacks.layer_health import Health
from convoy.training.distributed.collective import SingleProcess
from convoy.training.events import Event, LayerHealth, TrainingWarning
from convoy.training.loop import TrainTask, train


def samples(*shape, classes=2):
    images = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    labels = np.arange(shape[0], dtype=np.int32) % classes
    return Samples(np.arange(shape[0]), images, labels, [""] * shape[0])


def look(model, some, epochs=1):
    """The events of a health callback on an untrained network."""
    events: list[Event] = []
    health = Health(events.append, some)
    health.set_model(model)
    for epoch in range(epochs):
        health.on_epoch_end(epoch)
    return events


def test_units_that_are_never_above_zero_are_dead_and_those_that_are_once_are_not():
    inputs = keras.Input((2,))
    x = keras.layers.Dense(4, activation="relu", name="dense.1")(inputs)
    x = keras.layers.Dense(3, name="linear")(x)
    x = keras.layers.ReLU(name="relu")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    # Of the first four units one is 1 for the last sample alone, one always, and two never.
    kernel = np.array([[1, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    model.get_layer("dense.1").set_weights([kernel, np.array([-1, 1, 0, -1], np.float32)])
    model.get_layer("linear").set_weights([np.zeros((4, 3), np.float32), np.array([1, 1, -1], np.float32)])
    some = samples(8, 2)
    some.images[:] = 0
    some.images[-1] = 2
    events = look(model, some, epochs=2)
    metrics = events[0].metrics
    assert metrics["dead_units/dense_1"] == pytest.approx(0.5)
    assert metrics["dead_units/relu"] == pytest.approx(1 / 3)
    warnings = [event.text for event in events if isinstance(event, TrainingWarning)]
    assert len(warnings) == 1  # of one layer, and once
    assert warnings[0].startswith("50% of the units of layer dense_1 are dead after epoch 1: 0 for all of 8 samples;")


def test_a_channel_is_dead_where_it_is_zero_everywhere():
    inputs = keras.Input((5, 5, 1))
    x = keras.layers.Conv2D(3, 1, name="conv")(inputs)
    x = keras.layers.Activation("relu", name="act")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(x)))
    model.get_layer("conv").set_weights([np.array([1, -1, 0], np.float32).reshape(1, 1, 1, 3), np.zeros(3)])
    some = samples(4, 5, 5, 1)
    np.abs(some.images, out=some.images)
    assert look(model, some)[0].metrics["dead_units/act"] == pytest.approx(2 / 3)


def test_the_gradient_norm_is_that_of_the_mean_loss():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="d")(inputs))
    some = samples(10, 3)
    p = model.predict(some.images, verbose=0) - np.eye(2)[some.labels]
    expected = np.sqrt(np.square(some.images.T @ p / 10).sum() + np.square(p.mean(axis=0)).sum())
    assert look(model, some)[0].metrics["gradient_norm/d"] == pytest.approx(expected, rel=1e-4)


def test_deep_networks_have_a_bounded_number_of_metrics_of_layers_of_all_depths():
    inputs = x = keras.Input((4,))
    for i in range(70):
        x = keras.layers.Dense(4, activation="relu", name=f"layer{i}")(x)
    inner = keras.Model(inputs, x)
    outer = keras.Input((4,))
    model = keras.Model(outer, keras.layers.Dense(2, activation="softmax", name="last")(inner(outer)))
    metrics = look(model, samples(4, 4))[0].metrics
    for kind in ("dead_units/", "gradient_norm/"):
        names = [name for name in metrics if name.startswith(kind)]
        assert len(names) == 30
        assert f"{kind}layer0" in names
    assert "gradient_norm/last" in metrics
    assert "dead_units/layer69" in metrics


def test_a_network_that_cannot_be_looked_into_is_one_warning():
    events = look(None, samples(4, 4), epochs=3)
    assert [type(event) for event in events] == [TrainingWarning]


@pytest.mark.long
@pytest.mark.spark
@pytest.mark.parametrize("name", ["lenet5", pytest.param("mnist_cnn", marks=pytest.mark.long)])
def test_training_ends_with_the_same_bits_as_without(dataset, name):
    hashes, seen = [], []
    augmentation = AugmentationConfig(crop=2)
    config = TrainingConfig(num_workers=0, epochs=2, global_batch_size=40, augmentation=augmentation)
    for health in (False, True):
        events: list[Event] = []
        task = TrainTask(str(dataset), ModelConfig(name), config, build, 0, health=health)
        model = train(task, SingleProcess(), events.append)
        assert model is not None
        hashes.append(model.weights_sha256)
        seen = [event for event in events if isinstance(event, LayerHealth)]
        assert not [event for event in events if isinstance(event, TrainingWarning)]
    assert hashes[0] == hashes[1]
    assert [event.epoch for event in seen] == [0, 1]
    layers = {"lenet5": ["c1", "c3", "c5", "f6", "output"], "mnist_cnn": ["conv1", "conv2", "dense", "output"]}[name]
    assert {f"gradient_norm/{layer}" for layer in layers} <= set(seen[0].metrics)
    assert ("dead_units/conv1" in seen[0].metrics) == (name == "mnist_cnn")
