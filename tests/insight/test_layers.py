"""Grad-CAM finds where the evidence is; gradients are the ones that calculus gives."""

import keras
import numpy as np
import pytest

from convoy.insight.layers import filters, grad_cam, watch
from tests.insight.support import network


def bright(size, *places):
    """Black images, each with one bright spot of 3x3 at its place."""
    images = np.zeros((len(places), size, size, 1), np.uint8)
    for image, (y, x) in zip(images, places, strict=True):
        image[y : y + 3, x : x + 3] = 255
    return images


def spot_network(size, **head):
    """Class 1 is a bright spot anywhere: a blur, and its largest value; class 0 is none."""
    inputs = keras.Input((size, size, 1), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(2, 3, padding="same", name="conv", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="dense", **head)(x))
    kernel = np.zeros((3, 3, 1, 2), np.float32)
    kernel[..., 0], kernel[..., 1] = 1 / 9, -1 / 9
    model.get_layer("conv").set_weights([kernel])
    model.get_layer("dense").set_weights([np.array([[-9.0, 9.0], [0, 0]], np.float32), np.zeros(2, np.float32)])
    return model


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_grad_cam_lights_up_where_the_evidence_is_and_nowhere_else(trainable, nested):
    places = [(2, 3), (15, 10), (9, 16)]
    model = spot_network(20, activation="softmax")
    if nested:
        inputs = keras.Input((20, 20, 1), dtype="uint8")
        model = keras.Model(inputs, model(inputs))
    model.trainable = trainable
    heat = grad_cam(model, bright(20, *places), np.array([1, 1, 1]))
    assert heat.shape == (3, 20, 20)
    for found, (y, x) in zip(heat, places, strict=True):
        assert np.unravel_index(found.argmax(), found.shape) == (y + 1, x + 1)
        assert found.max() == pytest.approx(1)
        outside = found.copy()
        outside[y - 1 : y + 4, x - 1 : x + 4] = 0
        assert outside.max() < 1e-5
    # The spot speaks against class 0, so nothing speaks for it.
    assert grad_cam(model, bright(20, *places), np.array([0, 0, 0])).max() == 0


def test_grad_cam_uses_the_scores_before_the_softmax_where_it_is_a_layer_of_its_own():
    fused, apart = spot_network(12, activation="softmax"), spot_network(12)
    apart = keras.Model(apart.inputs, keras.layers.Softmax()(apart.output))
    images = bright(12, (2, 3))
    np.testing.assert_allclose(grad_cam(fused, images, [1]), grad_cam(apart, images, [1]), atol=1e-5)
    assert fused.layers[-1].activation is keras.activations.softmax  # as it was


def test_without_a_map_there_is_no_grad_cam():
    inputs = keras.Input((4, 4, 1), dtype="uint8")
    flat = keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, flat)
    assert grad_cam(model, bright(4, (0, 0)), [1]) is None
    assert filters(model) is None
    assert watch(model, bright(4, (0, 0)), np.array([1])) == {}


def test_what_is_watched_is_what_the_network_computes_and_its_gradients():
    keras.utils.set_random_seed(0)  # with other weights the step may cross a ReLU's kink
    model = network((6, 6, 1), 3)
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 1), np.uint8)
    labels = np.array([2, 0])
    before = model.get_weights()
    found = watch(model, images, labels)
    assert list(found) == ["conv_1", "conv_2"]
    first, second = found.values()
    assert first.activations.shape == first.activation_gradients.shape == (2, 6, 6, 4)
    assert second.weights.shape == second.weight_gradients.shape == (3, 3, 4, 6)
    inner = keras.Model(model.inputs, model.get_layer("conv.1").output)
    np.testing.assert_allclose(first.activations, inner.predict(images, verbose=0), atol=1e-5)

    def loss():
        chosen = model.predict(images, verbose=0)[np.arange(2), labels].astype(np.float64)
        return -np.log(chosen).sum()

    kernel = model.get_layer("conv>2").kernel
    step, where = 2e-3, np.unravel_index(np.abs(second.weight_gradients).argmax(), second.weights.shape)
    values = second.weights.copy()
    sides = []
    for sign in (1, -1):
        values[where] = second.weights[where] + sign * step
        kernel.assign(values)
        sides.append(loss())
    assert second.weight_gradients[where] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=0.05)
    kernel.assign(second.weights)
    for one, other in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(one, other)
