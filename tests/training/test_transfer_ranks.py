"""Frozen layers on real Horovod ranks: not a bit of them changes, and what is not frozen is trained."""

from pathlib import Path

import keras
import numpy as np
import pytest

from convoy.config import ModelConfig, OptimizerConfig, TrainingConfig
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ModelError
from convoy.models.layers.blocks import normalise
from convoy.models.pretrained.transfer import InitialWeights
from convoy.training.distributed.launch import launch
from convoy.training.loop import TrainTask, load_trained
from convoy.training.network import untrained

pytestmark = [pytest.mark.spark, pytest.mark.e2e, pytest.mark.long]


def network(config, shape, classes, mean, std, dtype):
    """Batch norm in the frozen part and after it; a branch."""
    image = keras.Input(shape, dtype=dtype)
    x = keras.layers.Conv2D(4, 3, strides=3, name="conv")(normalise(image, mean, std))
    x = keras.layers.BatchNormalization(momentum=0.5, name="bn")(x)
    left = keras.layers.Conv2D(4, 1, activation="relu", name="left")(x)
    right = keras.layers.Conv2D(4, 1, activation="relu", name="right")(x)
    x = keras.layers.BatchNormalization(momentum=0.5, name="bn2")(keras.layers.Add(name="add")([left, right]))
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax", name="output")(x))


def weights_of(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def unchanged(before, after):
    return {name for name in after if all(map(np.array_equal, before[name], after[name]))}


@pytest.fixture
def task(dataset, tmp_path):
    """A training from weights of the same network, with two classes, for which every value is drawn."""
    manifest = Manifest.load(dataset)
    source = network(None, manifest.shape, 2, manifest.pixel_mean, manifest.pixel_std, "uint8")
    rng = np.random.default_rng(0)
    for layer in source.layers:
        layer.set_weights([rng.uniform(0.1, 0.3, w.shape) for w in layer.get_weights()])
    source.save(tmp_path / "two.keras")

    def make(freeze_to, **settings) -> TrainTask:
        options = {"num_workers": 2, "epochs": 2, "global_batch_size": 40, **settings}
        weights = InitialWeights(str(tmp_path / "two.keras"), "two.keras")
        training = TrainingConfig(**{"optimizer": OptimizerConfig("adamw", 0.01, weight_decay=0.1), **options})
        config = ModelConfig(freeze_to=freeze_to, initial_weights="two.keras")
        return TrainTask(str(dataset), config, training, network, 1, weights=weights)

    make.source = weights_of(source)
    return make


def test_frozen_weights_keep_their_bits_and_the_others_move(spark, dataset, task):
    trained = load_trained(launch(spark, task("bn"), lambda _: None))
    assert unchanged(task.source, weights_of(trained)) == {"conv", "bn"}
    assert trained.output_shape == (None, len(Manifest.load(dataset).classes))
    assert all(layer.trainable for layer in trained.layers)


@pytest.mark.long
def test_weights_are_those_of_the_file_and_the_last_layer_is_new(spark, dataset, task):
    """With a rate of next to nothing, what comes out is what went in: on rank 1 as well, whose share counts."""
    events = []
    still = task("right", epochs=1, optimizer=OptimizerConfig("sgd", 1e-12))
    trained = load_trained(launch(spark, still, events.append))
    manifest = Manifest.load(dataset)
    fresh = untrained(network, ModelConfig(), manifest)
    assert trained.get_layer("output").get_weights()[0].shape == fresh.get_layer("output").get_weights()[0].shape
    for name, values in task.source.items():
        if name not in ("output", "bn2"):
            np.testing.assert_allclose(trained.get_layer(name).get_weights()[0], values[0], atol=1e-6)


def test_weights_that_do_not_fit_fail_on_the_rank_in_one_line(spark, task, tmp_path):
    given = task("bn", num_workers=1)
    Path(given.weights.file).write_bytes(b"no longer a file of weights")
    with pytest.raises(ModelError, match=r"model\.initial_weights 'two\.keras' cannot be read"):
        launch(spark, given, lambda _: None)
