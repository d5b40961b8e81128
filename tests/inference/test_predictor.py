"""The network as the workers call it, beside Keras' own ``predict``."""

import dataclasses

import keras
import numpy as np
import pytest

from convoy.errors import ModelError
from convoy.images import ArraySpec
from convoy.inference.predictor import Predictor
from tests.conftest import noise
from tests.inference.packages import network, package, truth


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 100])
def test_predictions_are_keras_own_whatever_the_number_of_samples(count):
    images = noise(count, 8, 6, 3)
    found = Predictor(package(), 32).predict(images)
    assert found.shape == (count, 5)
    if count:
        np.testing.assert_allclose(found, truth(images), atol=1e-5)
        assert (found.argmax(1) == truth(images).argmax(1)).all()


def test_embeddings_are_what_the_last_layer_takes():
    images = noise(5, 8, 6, 3)
    probabilities, embeddings = Predictor(package(), 3, embeddings=True).predict_all(images)
    inner = keras.Model(network().inputs, network().get_layer("penultimate").output)
    np.testing.assert_allclose(embeddings, inner.predict(images, verbose=0), atol=1e-5)
    np.testing.assert_allclose(probabilities, truth(images), atol=1e-5)


def test_half_precision_is_near_and_not_the_same():
    images = noise(40, 8, 6, 3)
    found = Predictor(package(), 32, half_precision=True).predict(images)
    assert 0 < np.abs(found - truth(images)).max() < 0.05


def test_a_network_with_another_number_of_classes_is_refused():
    with pytest.raises(ModelError, match=r"gives \(None, 5\), expected 2 probabilities"):
        Predictor(dataclasses.replace(package(), classes=["a", "b"]), 32)


def test_large_samples_come_in_small_batches():
    volumes = package(None, ArraySpec((1 << 20,), "float32"))
    predictor = Predictor(volumes, 256)
    assert predictor.batch_size == 2
    samples = np.random.default_rng(0).normal(size=(3, 1 << 20)).astype(np.float32)
    np.testing.assert_allclose(predictor.predict(samples), truth(samples), atol=1e-5)
