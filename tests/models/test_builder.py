"""Networks as they are built: the normalisation inside, and what happens to images that do not fit."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from convoy.config import ModelConfig
from convoy.config.loading import parse
from convoy.errors import ModelError
from convoy.models.builder import build
from tests.conftest import noise
from tests.dataset.storage.test_raw import DTYPES

CONF = sorted(Path(__file__).parent.parent.parent.glob("conf/*.yaml"))
MEAN, STD = [10.0, 127.5, 200.0], [3.0, 70.25, 0.5]


def grey(name, height, width, classes=10):
    return build(ModelConfig(name), (height, width, 1), classes, [33.0], [78.0])


@pytest.mark.parametrize("name", ["lenet5", "mnist_cnn", "mlp", "alexnet"])
@pytest.mark.parametrize(("shape", "classes"), [((33, 40, 3), 2), ((32, 32, 1), 17)])
def test_raw_images_become_probabilities(name, shape, classes):
    model = build(ModelConfig(name), shape, classes, [100.0] * shape[2], [50.0] * shape[2])
    probabilities = model(noise(5, *shape)).numpy()
    assert model.inputs[0].dtype == "uint8"
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (5, classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "side", "layer", "reaches"),
    [
        ("lenet5", 4, "c1", "4x4"),
        ("lenet5", 5, "s2", "1x1"),
        ("lenet5", 12, "c3", "4x4"),
        ("lenet5", 20, "c5", "2x2"),
        ("mnist_cnn", 2, "conv1", "2x2"),
        ("mnist_cnn", 4, "conv2", "2x2"),
        ("mnist_cnn", 5, "pool", "1x1"),
    ],
)
def test_image_that_does_not_fit_names_the_layer_and_what_reaches_it(name, side, layer, reaches):
    with pytest.raises(ModelError, match=rf"{name} .*{side}x{side}x1: layer '{layer}' .* {reaches}\b"):
        grey(name, side, side)


def test_unknown_name_suggests_the_nearest_and_lists_all():
    with pytest.raises(ModelError, match=r"'lenet' is unknown; .*lenet5, alexnet, .*cnn3d; did you mean 'lenet5'\?"):
        grey("lenet", 32, 32)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalisation_is_inside_the_network(channels):
    mean, std = MEAN[:channels], STD[:channels]
    model = build(ModelConfig("lenet5"), (32, 32, channels), 10, mean, std)
    images = noise(4, 32, 32, channels)
    normalised = keras.Model(model.input, model.get_layer("normalise").output)(images).numpy()
    np.testing.assert_allclose(normalised, (images - np.array(mean)) / np.array(std), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_samples_of_every_type_are_normalised(dtype):
    images = (noise(20, 32, 32, 2) % 2 if dtype == "bool" else noise(20, 32, 32, 2) // 2).astype(dtype)
    mean, std = (getattr(images.astype(np.float64), name)(axis=(0, 1, 2)) for name in ("mean", "std"))
    model = build(ModelConfig("lenet5"), (32, 32, 2), 10, mean.tolist(), std.tolist(), dtype)
    assert model.inputs[0].dtype == dtype
    normalised = keras.Model(model.input, model.get_layer("normalise").output)(tf.constant(images)).numpy()
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised, (images - mean) / std, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e-13, 1e-6, 1.0, 1e9, 1e20, 1e30])
def test_values_of_any_magnitude_become_about_one(scale, tmp_path):
    images = ((noise(20, 32, 32, 2) / 64 - 1.5) * [scale, 1] + [5 * scale, 0]).astype(np.float32)
    mean, std = (getattr(images.astype(np.float64), name)(axis=(0, 1, 2)) for name in ("mean", "std"))
    model = build(ModelConfig("lenet5"), (32, 32, 2), 10, mean.tolist(), std.tolist(), "float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for network in (model, loaded):
        normalised = keras.Model(network.input, network.get_layer("normalise").output)(images).numpy()
        np.testing.assert_allclose(normalised, (images - mean) / std, rtol=1e-4, atol=1e-4)


def test_channel_that_is_the_same_everywhere_gives_no_nan():
    model = build(ModelConfig("lenet5"), (32, 32, 3), 10, [0.0, 128.0, 255.0], [0.0, 20.0, 0.0])
    images = np.stack([np.zeros((32, 32, 3)), np.full((32, 32, 3), 255)]).astype(np.uint8)
    assert np.isfinite(model(images).numpy()).all()


@pytest.mark.parametrize("file", CONF, ids=lambda file: file.stem)
def test_every_experiment_of_the_project_builds_its_network(file):
    config = parse("train", "", ["--config", str(file)])
    shape = config.dataset.image.shape
    assert build(config.model, shape, 10, [0.0] * shape[2], [1.0] * shape[2]).output_shape == (None, 10)
