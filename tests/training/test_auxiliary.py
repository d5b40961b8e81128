"""Auxiliary classifiers: what they add to the loss, and that nothing of them is validated or saved."""

from pathlib import Path

import keras
import numpy as np
import pytest

from convoy.config import ModelConfig, OptimizerConfig, TrainingConfig
from convoy.dataset.reading.examples import read_split
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ModelError
from convoy.models.layers.blocks import normalise
from convoy.models.pretrained.transfer import InitialWeights
from convoy.training.auxiliary import TrainedWithHeads, of_main_head, with_auxiliary_loss
from convoy.training.distributed.collective import SingleProcess
from convoy.training.events import Epoch, Event
from convoy.training.loop import TrainTask, load_trained, train
from convoy.training.network import build_inference_model, network
from convoy.training.optim.losses import accuracy, crossentropy
from tests.dataset.versions import CLASSES, write_version

pytestmark = [pytest.mark.train, pytest.mark.long]

ROWS = 50


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    samples = [(f"{i}.png", f"{i:032d}", "train", CLASSES[i % 2]) for i in range(ROWS)]
    samples += [(f"v{i}.png", f"{i + 900:032d}", "validation", CLASSES[i % 2]) for i in range(9)]
    statistics = {"pixel_mean": [128.0], "pixel_std": [74.0]}
    return write_version(tmp_path_factory.mktemp("data"), "aaa", samples, pixels=np.random.default_rng(0), **statistics)


def dense(x, units, name, activation="tanh"):
    return keras.layers.Dense(units, activation, name=name)(x)


def three_heads(config, shape, classes, mean, std, dtype="uint8"):
    """Two branches for training alone, one of them below the batch norm of the trunk."""
    image = keras.Input(shape, dtype=dtype)
    low = dense(keras.layers.Flatten(name="flat")(normalise(image, mean, std)), 8, "low")
    high = dense(keras.layers.BatchNormalization(name="bn")(low), 6, "high")
    main = dense(high, classes, "output", "softmax")
    if not config.auxiliary_heads:
        return keras.Model(image, main)
    first = dense(dense(low, 5, "aux1_fc"), classes, "aux1", "softmax")
    second = dense(high, classes, "aux2", "softmax")
    return keras.Model(image, keras.ops.stack([main, first, second], axis=1))


def renamed(config, shape, classes, *_):
    """Forgets to call a layer the same in both of its networks."""
    image = keras.Input(shape, dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    x = dense(x, 4, "high" if config.auxiliary_heads else "upper")
    main = dense(x, classes, "output", "softmax")
    return keras.Model(image, keras.ops.stack([main, main, main], axis=1) if config.auxiliary_heads else main)


def task(dataset, build=three_heads, weights=None, **settings):
    options = {"num_workers": 0, "epochs": 2, "global_batch_size": 16, "optimizer": OptimizerConfig("adam", 0.01)}
    config = ModelConfig("googlenet", auxiliary_heads=True)
    return TrainTask(str(dataset), config, TrainingConfig(**{**options, **settings}), build, 0, weights=weights)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_other_heads_count_for_three_tenths_in_training_and_nothing_in_validation(dataset, smoothing):
    manifest = Manifest.load(dataset)
    model = network(three_heads, ModelConfig("googlenet", auxiliary_heads=True), manifest, "float32", None)
    assert isinstance(model, TrainedWithHeads)
    loss = crossentropy(smoothing)
    model.compile("sgd", with_auxiliary_loss(loss), metrics=[of_main_head(accuracy)])
    data = read_split(dataset, manifest, "train")
    heads = model.predict(data.images, verbose=0)
    per_head = [float(np.mean(loss(data.labels, heads[:, head]))) for head in range(3)]
    right = float(np.mean(heads[:, 0].argmax(axis=1) == data.labels))
    validated = model.evaluate(data.images, data.labels, len(data.labels), verbose=0, return_dict=True)
    assert validated == pytest.approx({"loss": per_head[0], "accuracy": right}, rel=1e-5)
    # Batch norm uses other statistics in training; the trunk below the first head has none.
    expected = np.array(model(data.images, training=True))
    first, second, third = (float(np.mean(loss(data.labels, expected[:, head]))) for head in range(3))
    before = {layer.name: layer.get_weights() for layer in model.layers if layer.trainable_weights}
    trained = model.fit(data.images, data.labels, len(data.labels), verbose=0).history
    assert trained["loss"][0] == pytest.approx(first + 0.3 * (second + third), rel=1e-5)
    for name, weights in before.items():  # all heads are trained
        assert not np.array_equal(weights[0], model.get_layer(name).get_weights()[0]), name


@pytest.mark.parametrize("settings", [{}, {"precision": "mixed_bfloat16"}])
def test_what_is_saved_is_the_main_head_and_what_was_validated(dataset, settings):
    events: list[Event] = []
    trained = train(task(dataset, **settings), SingleProcess(), events.append)
    assert trained is not None
    model, manifest = load_trained(trained), Manifest.load(dataset)
    assert model.output_shape == (None, len(CLASSES))
    assert not [layer.name for layer in model.layers if layer.name.startswith("aux")]
    data = read_split(dataset, manifest, "validation")
    probabilities = model.predict(data.images, verbose=0)
    measured = [event.metrics for event in events if isinstance(event, Epoch)][-1]
    loss = float(np.mean(crossentropy()(data.labels, probabilities)))
    if "precision" in settings:
        assert measured["val_loss"] == pytest.approx(loss, rel=0.05)
        return
    assert measured["val_loss"] == pytest.approx(loss, rel=1e-5)
    assert measured["val_accuracy"] == pytest.approx(np.mean(probabilities.argmax(axis=1) == data.labels), abs=1e-6)


def test_training_with_heads_can_start_from_a_network_without(dataset, tmp_path):
    manifest, config = Manifest.load(dataset), ModelConfig("googlenet", auxiliary_heads=True)
    plain = build_inference_model(three_heads, config, manifest)
    plain.save_weights(tmp_path / "w.weights.h5")
    weights = InitialWeights(str(tmp_path / "w.weights.h5"), "w.weights.h5")
    model = network(three_heads, config, manifest, "float32", weights)
    for layer in plain.layers:
        for a, b in zip(layer.get_weights(), model.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_networks_whose_layers_have_other_names_are_refused(dataset):
    with pytest.raises(ModelError, match=r"layer 'upper' of the network without them is not in the one with them"):
        train(task(dataset, renamed, epochs=1), SingleProcess(), lambda _: None)
