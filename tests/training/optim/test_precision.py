"""Networks that compute in 16 bits."""

import keras
import numpy as np
import pytest

from convoy.config import ModelConfig, OptimizerConfig
from convoy.models.builder import build
from convoy.training.distributed.collective import SingleProcess
from convoy.training.optim.losses import accuracy, crossentropy
from convoy.training.optim.optimizer import build_optimizer, distribute
from convoy.training.optim.precision import in_precision
from tests.conftest import noise

pytestmark = pytest.mark.long

MIXED = ["mixed_bfloat16", "mixed_float16"]


def lenet():
    return build(ModelConfig("lenet5"), (32, 32, 1), 3, [128.0], [74.0])


@pytest.mark.parametrize("precision", MIXED)
def test_layers_compute_in_16_bits_but_for_pixels_and_output(precision):
    plain = lenet()
    model = in_precision(plain, precision)
    computing = {layer.name: layer.compute_dtype for layer in model.layers if layer.name != "image"}
    assert computing.pop("normalise") == computing.pop("output") == "float32"
    assert set(computing.values()) == {precision.removeprefix("mixed_")}
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    for ours, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    images = noise(8, 32, 32, 1, seed=1)
    np.testing.assert_allclose(model(images), plain(images), atol=0.02)
    assert keras.config.dtype_policy().name == "float32"


def test_float32_is_the_network_itself():
    model = lenet()
    assert in_precision(model, "float32") is model


@pytest.mark.train
@pytest.mark.parametrize(
    ("precision", "accumulation_steps"),
    [
        pytest.param("mixed_bfloat16", 2, marks=pytest.mark.long),
        pytest.param("mixed_float16", 1, marks=pytest.mark.long),
        ("mixed_float16", 2),
    ],
)
def test_training_in_16_bits_learns_and_the_weights_serve_in_32(precision, accumulation_steps):
    keras.utils.set_random_seed(0)
    labels = np.arange(24, dtype=np.int32) % 3
    images = noise(24, 32, 32, 1, seed=1) // 4 + (labels * 60).astype(np.uint8)[:, None, None, None]
    model, plain = in_precision(lenet(), precision), lenet()
    optimizer = build_optimizer(OptimizerConfig("adam", 0.003), scale_loss=precision == "mixed_float16")
    optimizer = distribute(optimizer, SingleProcess(), accumulation_steps)
    model.compile(optimizer, crossentropy(), metrics=[accuracy], jit_compile=False, auto_scale_loss=False)
    assert model.optimizer is optimizer
    model.fit(images, labels, batch_size=12, epochs=12, verbose=0)
    plain.set_weights(model.get_weights())
    assert np.mean(plain.predict(images, verbose=0).argmax(axis=1) == labels) == 1
