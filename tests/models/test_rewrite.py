"""Options: the same network with other activations, normalisation, dropout, initial weights, penalties or head."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.config import ModelConfig
from convoy.config.model import Activation
from convoy.errors import ModelError
from convoy.models.builder import build
from convoy.models.layers.maxout import Maxout
from convoy.models.rewiring import KERNELS
from convoy.models.rewrite import with_options
from tests.conftest import noise

ACTIVATIONS = get_args(Activation)
HIDDEN = {"lenet5": ["c1", "c3", "c5", "f6"], "mnist_cnn": ["conv1", "conv2", "dense"]}
KINDS = {"lenet5": ModelConfig(), "mnist_cnn": ModelConfig("mnist_cnn")}


def network(name="lenet5", **options):
    keras.utils.set_random_seed(0)
    return build(ModelConfig(name, **options), (32, 32, 1), 10, [128.0], [74.0])


def rewritten(model, classes=3, **options):
    return with_options(model, ModelConfig(**options), classes)


def activation_after(model, name):
    """What is applied last of what belongs to the hidden layer of that name."""
    names = [layer.name for layer in model.layers]
    last = next(each for each in (f"{name}_activation", name) if each in names)
    layer = model.get_layer(last)
    return "maxout" if isinstance(layer, Maxout) else layer.activation.__name__


def residual(norm=True, activation=keras.layers.ReLU):
    """A network with a skip connection, normalised or not, activations as layers, and biases only without norms."""
    image = keras.Input((8, 8, 2), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=not norm, name="conv1")(image)
    x = keras.layers.BatchNormalization(name="bn1")(x) if norm else x
    x = skip = activation(name="act1")(x)
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=not norm, name="conv2")(x)
    x = keras.layers.BatchNormalization(name="bn2")(x) if norm else x
    x = activation(name="act2")(keras.layers.Add(name="add")([x, skip]))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(3, activation="softmax", name="output")(x))


def three_headed():
    """As googlenet with auxiliary heads: (N, 3, K) from three classifiers."""
    image = keras.Input((8, 8, 1), name="image")
    x, heads = image, []
    for i in range(3):
        x = keras.layers.Conv2D(4, 3, activation="relu", name=f"conv{i}")(x)
        h = keras.layers.Dense(5, activation="relu", name=f"hidden{i}")(keras.layers.Flatten(name=f"flat{i}")(x))
        h = keras.layers.Dense(3, activation="softmax", name=f"head{i}")(h)
        heads.append(keras.layers.Reshape((1, 3), name=f"row{i}")(h))
    return keras.Model(image, keras.layers.Concatenate(axis=1, name="heads")(heads))


@pytest.mark.parametrize("name", KINDS)
def test_without_options_the_network_is_the_very_one_that_was_built(name):
    model = network(name)
    assert rewritten(model) is model


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("name", "batch_norm"), [("lenet5", True), ("mnist_cnn", None)])
def test_every_hidden_layer_has_the_activation_and_the_classifier_its_softmax(name, activation, batch_norm):
    plain, model = network(name), network(name, activation=activation, batch_norm=batch_norm)
    assert {activation_after(model, hidden) for hidden in HIDDEN[name]} == {activation}
    assert model.get_layer("output").activation is keras.activations.softmax
    assert {layer.name for layer in plain.layers} <= {layer.name for layer in model.layers}
    assert model.output_shape == (None, 10)
    images = noise(3, 32, 32, 1)
    np.testing.assert_allclose(model(images).numpy().sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("activation", ["elu", "gelu", "leaky_relu"])
def test_a_network_with_another_activation_computes_with_it_from_the_same_initial_weights(activation):
    plain, model = network(), network(activation=activation)
    for ours, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    images = noise(3, 32, 32, 1)
    model, plain = (keras.Model(each.input, each.get_layer("c1").output) for each in (model, plain))
    before = np.arctanh(np.clip(plain(images).numpy().astype(np.float64), -0.999, 0.999))
    function = getattr(keras.activations, activation)
    near = np.abs(before) < 2  # further out, a float32 tanh cannot be inverted
    np.testing.assert_allclose(model(images).numpy()[near], function(before).numpy()[near], atol=1e-3)


@pytest.mark.parametrize(
    "kind", [keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.PReLU, keras.layers.ELU, keras.layers.Activation]
)
def test_activations_that_are_layers_are_replaced_under_their_names(kind):
    make = (lambda name: keras.layers.Activation("relu", name=name)) if kind is keras.layers.Activation else kind
    model = rewritten(residual(activation=make), activation="gelu")
    assert [model.get_layer(name).activation.__name__ for name in ("act1", "act2")] == ["gelu", "gelu"]
    assert [layer.name for layer in model.layers] == [layer.name for layer in residual().layers]


def test_activations_of_keras_ops_are_replaced_too():
    image = keras.Input((8, 8, 1), name="image")
    x = keras.ops.relu(keras.layers.Conv2D(4, 3, name="conv")(image))
    x = keras.activations.tanh(keras.layers.Conv2D(4, 3, name="conv2")(x))
    x = keras.layers.Dense(3, name="logits")(keras.layers.Flatten(name="flatten")(x))
    model = rewritten(keras.Model(image, keras.layers.Softmax(name="softmax")(x)), activation="elu", batch_norm=True)
    kinds = [type(operation).__name__ for operation in model.operations]
    expected = (
        "InputLayer Conv2D BatchNormalization Activation Conv2D BatchNormalization Activation Flatten Dense Softmax"
    )
    assert kinds == expected.split()


@given(
    st.integers(1, 4), st.integers(1, 5), st.lists(st.integers(1, 4), min_size=0, max_size=3), st.integers(0, 2**32 - 1)
)
def test_maxout_is_the_maximum_over_successive_channels(pieces, units, places, seed):
    x = np.random.default_rng(seed).normal(size=(2, *places, units * pieces)).astype(np.float32)
    layer = Maxout(pieces)
    y = layer(x).numpy()
    np.testing.assert_array_equal(y, x.reshape(2, *places, units, pieces).max(axis=-1))
    assert layer.compute_output_shape(x.shape) == y.shape


def test_maxout_of_channels_that_cannot_be_shared_out_is_refused():
    with pytest.raises(ValueError, match="a multiple of 2 channels, not 7"):
        Maxout(2)(np.zeros((1, 7), np.float32))


def test_a_maxout_unit_is_the_largest_of_two_linear_functions():
    model = network(activation="maxout")
    c1 = model.get_layer("c1")
    assert (c1.filters, c1.activation) == (12, keras.activations.linear)
    assert model.get_layer("c1_activation").output.shape == (None, 28, 28, 6)
    both = keras.Model(model.input, [c1.output, model.get_layer("c1_activation").output])
    linear, units = (value.numpy() for value in both(noise(2, 32, 32, 1)))
    np.testing.assert_array_equal(units, np.maximum(linear[..., ::2], linear[..., 1::2]))


def test_maxout_goes_where_an_activation_layer_follows_its_own_convolution():
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(image)
    x = keras.layers.ReLU(name="act1")(keras.layers.BatchNormalization(name="bn")(x))
    x = keras.layers.ReLU(name="act2")(keras.layers.Conv2D(6, 3, groups=3, name="grouped")(x))
    x = keras.layers.Dense(3, activation="softmax", name="output")(keras.layers.Flatten(name="flatten")(x))
    model = rewritten(keras.Model(image, x), activation="maxout")
    shapes = {layer.name: layer.output.shape[-1] for layer in model.layers}
    assert [shapes[name] for name in ("depthwise", "bn", "act1", "grouped", "act2")] == [6, 6, 3, 12, 6]


def test_maxout_after_an_addition_is_refused_with_the_layers_name():
    with pytest.raises(ModelError, match=r"'maxout', but layer 'act2' .* \(it follows 'add'\)"):
        rewritten(residual(), activation="maxout")


@pytest.mark.parametrize("name", KINDS)
def test_batch_norm_comes_between_each_hidden_layer_and_its_activation(name):
    model = network(name, batch_norm=True)
    names = [layer.name for layer in model.layers]
    for hidden in HIDDEN[name]:
        at = names.index(hidden)
        assert names[at : at + 3] == [hidden, f"{hidden}_norm", f"{hidden}_activation"]
        assert model.get_layer(hidden).activation is keras.activations.linear
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers) == len(HIDDEN[name])
    plain = network(name)
    assert activation_after(model, HIDDEN[name][0]) == plain.get_layer(HIDDEN[name][0]).activation.__name__


def test_batch_norm_is_not_put_where_it_is_already():
    assert [layer.name for layer in rewritten(residual(), batch_norm=True).layers] == [
        layer.name for layer in residual().layers
    ]
    names = [layer.name for layer in rewritten(residual(norm=False), batch_norm=True).layers]
    assert names == ["image", "conv1", "conv1_norm", "act1", "conv2", "conv2_norm", "add", "act2", "pool", "output"]


def test_batch_norm_taken_out_leaves_a_bias():
    model = rewritten(residual(), batch_norm=False)
    assert [layer.name for layer in model.layers] == [layer.name for layer in residual(norm=False).layers]
    assert model.count_params() == residual(norm=False).count_params()


def test_dropout_replaces_the_networks_own():
    model = network("mnist_cnn", dropout=0.125)
    assert [model.get_layer(name).rate for name in ("dropout1", "dropout2")] == [0.125] * 2
    assert len(model.layers) == len(network("mnist_cnn").layers)


def test_a_network_without_dropout_gets_it_before_its_last_layer():
    names = [layer.name for layer in network(dropout=0.5).layers]
    assert names[-3:] == ["f6", "output_dropout", "output"]
    assert network(dropout=0.5).get_layer("output_dropout").rate == 0.5
    assert "output_dropout" not in [layer.name for layer in network(dropout=0.0).layers]


def test_initialiser_is_of_hidden_layers_and_is_drawn_with():
    model = network(initialiser="he_normal")
    for layer in model.layers:
        if isinstance(layer, KERNELS):
            expected = keras.initializers.GlorotUniform if layer.name == "output" else keras.initializers.HeNormal
            assert isinstance(layer.kernel_initializer, expected), layer.name
    deviation = model.get_layer("f6").kernel.numpy().std()
    assert deviation == pytest.approx(np.sqrt(2 / 120), rel=0.05)


def test_unknown_initialiser_names_the_nearest():
    with pytest.raises(ModelError, match=r"model\.initialiser 'he_norml' is unknown; .* did you mean 'he_normal'\?"):
        network(initialiser="he_norml")


def test_l2_adds_the_squares_of_the_weights_but_not_of_biases():
    model = network(l2=0.01)
    for layer in model.layers:
        if isinstance(layer, KERNELS):
            layer.bias.assign(np.ones(layer.bias.shape))
    squares = sum(np.sum(layer.kernel.numpy() ** 2) for layer in model.layers if isinstance(layer, KERNELS))
    assert sum(float(loss) for loss in model.losses) == pytest.approx(0.01 * squares, rel=1e-5)
    assert network().losses == []


def test_softmax_head_averages_over_all_places():
    model = network(head="softmax")
    assert [layer.name for layer in model.layers][-3:] == ["c5", "global_average", "output"]
    model = network("mnist_cnn", head="softmax", dropout=0.1)
    assert [layer.name for layer in model.layers][-3:] == ["dropout1", "global_average", "output"]
    assert model.get_layer("output").kernel.shape == (64, 10)
    both = keras.Model(model.input, [model.get_layer(name).output for name in ("dropout1", "global_average")])
    places, average = (value.numpy() for value in both(noise(2, 32, 32, 1)))
    np.testing.assert_allclose(average, places.mean(axis=(1, 2)), rtol=1e-4)


def test_softmax_head_of_a_network_that_classifies_by_convolution():
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Conv2D(3, 1, name="classes")(x))
    model = rewritten(keras.Model(image, keras.layers.Softmax(name="softmax")(x)), head="softmax")
    assert [layer.name for layer in model.layers] == ["image", "conv", "global_average", "output"]


def test_softmax_head_of_signals():
    signal = keras.Input((50, 2), name="image")
    x = keras.layers.Flatten(name="flatten")(keras.layers.Conv1D(4, 3, name="conv")(signal))
    model = keras.Model(signal, keras.layers.Dense(3, activation="softmax", name="classes")(x))
    assert [layer.name for layer in rewritten(model, head="softmax").layers][1:] == ["conv", "global_average", "output"]


def test_softmax_head_needs_places():
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Dense(4, name="hidden")(keras.layers.Flatten(name="flatten")(image))
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax", name="output")(x), name="mlp")
    with pytest.raises(ModelError, match="mlp has no layer whose output has spatial axes"):
        rewritten(model, head="softmax")


@pytest.mark.parametrize("activation", ["tanh", "maxout"])
def test_no_classifier_of_several_is_taken_for_a_hidden_layer(activation):
    model = rewritten(three_headed(), activation=activation, batch_norm=True, dropout=0.2)
    for i in range(3):
        assert model.get_layer(f"head{i}").activation is keras.activations.softmax
        assert activation_after(model, f"hidden{i}") == activation_after(model, f"conv{i}") == activation
        assert f"head{i}_norm" not in [layer.name for layer in model.layers]
        assert model.get_layer(f"head{i}_dropout").rate == 0.2
    np.testing.assert_allclose(model(np.zeros((2, 8, 8, 1))).numpy().sum(axis=-1), np.ones((2, 3)), rtol=1e-5)


LOADING = """
import sys, keras, numpy as np
import convoy.models.layers.custom
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
np.save(sys.argv[3], model(np.load(sys.argv[2])).numpy())
"""


@pytest.mark.long
@pytest.mark.e2e
def test_saved_with_options_it_loads_in_another_process_in_safe_mode_and_predicts_the_same(tmp_path):
    model = network(activation="maxout", batch_norm=True, dropout=0.2, initialiser="he_uniform", l2=1e-3)
    images = noise(3, 32, 32, 1)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    command = [
        sys.executable,
        "-c",
        LOADING,
        *(str(tmp_path / name) for name in ("model.keras", "images.npy", "out.npy")),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(command, check=True, timeout=1200, env=environment, cwd=tmp_path, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), model(images).numpy(), atol=1e-5)
