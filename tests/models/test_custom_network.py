"""Own networks: layers in YAML."""

import keras
import numpy as np
import pytest
import yaml

from convoy.config import ModelConfig
from convoy.config.loading import parse
from convoy.errors import ConfigError, ModelError
from convoy.models.builder import build
from convoy.models.custom_network import _KINDS, _LAYERS, _snake_case
from tests.conftest import noise

SMALL = """
- conv2d: {filters: 8, kernel_size: 5, activation: relu, name: c1}
- max_pooling2d: {pool_size: 2}
- Conv2D: {filters: 16, kernel_size: [3, 3], use_bias: false}
- batch_normalization:
- activation: {activation: gelu}
- flatten
- dense: {activation: softmax}
"""


def own(layers, shape=(28, 28, 1), classes=10, **options):
    layers = yaml.safe_load(layers) if isinstance(layers, str) else layers
    channels = shape[-1]
    return build(ModelConfig(layers=layers, **options), shape, classes, [128.0] * channels, [74.0] * channels)


def test_layers_become_a_network_in_their_order_with_names_that_do_not_change():
    models = [own(SMALL), own(SMALL)]
    numbered = ["max_pooling2d_1", "conv2d_1", "batch_normalization_1", "activation_1", "flatten_1"]
    names = ["image", "normalise", "c1", *numbered, "output"]
    assert [[layer.name for layer in model.layers] for model in models] == [names, names]
    model = models[0]
    assert model.name == "own"
    assert own(SMALL, name="mine").name == "mine"
    assert model.get_layer("c1").activation is keras.activations.relu
    assert model.get_layer("conv2d_1").kernel.shape == (3, 3, 8, 16)
    assert not model.get_layer("conv2d_1").use_bias
    assert model.output_shape == (None, 10)
    assert own(SMALL, classes=3).output_shape == (None, 3)
    images = noise(2, 28, 28, 1)
    c1 = keras.Model(model.input, model.get_layer("normalise").output)(images).numpy()
    np.testing.assert_allclose(c1, (images - 128.0) / 74, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [*_KINDS, "Maxout"])
def test_layers_go_by_keras_class_name_and_by_its_snake_case(kind):
    cls = _LAYERS[_snake_case(kind).replace("_", "")]
    assert cls.__name__ == kind or cls is getattr(keras.layers, kind)  # some have a second name


def test_signals_and_volumes_have_networks_too():
    classifier = [{"dense": {"activation": "softmax"}}]
    signal = own([{"conv1d": {"filters": 4, "kernel_size": 3}}, "global_max_pooling1d", *classifier], (50, 2))
    volume = own([{"conv3d": {"filters": 4, "kernel_size": 3}}, "global_average_pooling3d", *classifier], (8, 8, 8, 1))
    assert signal.output_shape == volume.output_shape == (None, 10)


def test_options_rewrite_own_layers_as_any_others():
    model = own(SMALL, activation="maxout", dropout=0.5, batch_norm=True)
    names = [layer.name for layer in model.layers]
    assert names[2:5] == ["c1", "c1_norm", "c1_activation"]
    assert names[-2:] == ["output_dropout", "output"]
    assert [model.get_layer(name).filters for name in ("c1", "conv2d_1")] == [16, 32]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (
            "[{conv2: {filters: 3}}]",
            r"layer 1 of model\.layers \(conv2\) is not a known layer; did you mean 'conv2d'",
        ),
        ("[flatten, lambda]", r"layer 2 of model\.layers \(lambda\) is not a known layer"),
        ("[{add: {}}]", r"\(add\) is not a known layer"),
        ("[{conv2d: {filter: 3, kernel_size: 3}}]", r"\(conv2d\) has no argument 'filter'; did you mean 'filters'"),
        ("[{conv2d: {kernel_size: 3}}]", r"\(conv2d\) lacks filters"),
        ("[{conv2d: {}}]", r"\(conv2d\) lacks filters and kernel_size"),
        ("[{dense: {units: 3, activation: rellu}}]", r"unknown activation 'rellu'; did you mean 'relu'"),
        ("[{dense: {units: 3, activation: maxout}}]", r"unknown activation 'maxout'; maxout is a separate layer"),
        ("[{activation: {activation: swisch}}]", r"unknown activation 'swisch'; did you mean 'swish'|silu"),
        ("[{dense: {units: 3, kernel_initializer: he}}]", r"unknown kernel_initializer 'he'"),
        ("[{dense: {units: 3, kernel_regularizer: L3}}]", r"unknown kernel_regularizer 'L3'"),
        ("[{conv2d: {filters: -4, kernel_size: 3}}]", r"layer 1 .* Received filters=-4"),
        ("[{conv2d: {filters: 4, kernel_size: 3, padding: vlaid}}]", "vlaid"),
        ("[{conv2d: {filters: 4, kernel_size: 33}}]", r"33"),
        ("[{conv3d: {filters: 4, kernel_size: 3}}]", r"28x28x1|expected"),
        ("[{flatten: {name: a}}, {dense: {name: a}}]", r"layer 2 of model\.layers is named 'a', which is taken"),
        ("[{flatten: {name: normalise}}]", r"'normalise', which is taken"),
        ("[flatten, dense]", r"the last layer, 'output', is not a softmax; expected a softmax over the 10 classes"),
        (
            "[flatten, {dense: {units: 9, activation: softmax}}]",
            r"'output', returns \(9,\); expected a softmax over the 10",
        ),
        ("[{dense: {activation: softmax}}]", r"'output', returns \(28, 28, 10\); expected"),
    ],
)
def test_layers_that_are_wrong_are_told_in_one_line(layers, said):
    with pytest.raises(ModelError, match=said) as caught:
        own(layers)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[]", r"model\.layers is \[\]; expected a list of layers"),
        ("[{conv2d: {filters: 8}, flatten: {}}]", r"layer 1 of model\.layers is .*; expected \{<Keras layer>"),
        ("[flatten, {dense: 10}]", r"layer 2 of model\.layers is \{'dense': 10\}; expected"),
        ("[{}]", r"layer 1 of model\.layers is \{\}; expected"),
        ("[{dense: {1: 2}}]", r"layer 1 of model\.layers is"),
        ("{conv2d: {filters: 8}}", r"model\.layers"),
    ],
)
def test_layers_that_are_no_list_of_layers(value, said):
    with pytest.raises(ConfigError, match=said):
        parse("train", "", ["--model.layers", value])


def test_layers_are_read_from_a_file_overridden_on_the_command_line_and_printed(tmp_path, capsys):
    file = tmp_path / "own.yaml"
    file.write_text("model:\n  name: mine\n  layers:" + SMALL.replace("\n", "\n    "))
    config = parse("train", "", ["--config", str(file)])
    assert config.model.layers == yaml.safe_load(SMALL)
    other = '[flatten, {"dense": {"activation": "softmax"}}]'
    arguments = ["--config", str(file), "--model.layers", other]
    assert parse("train", "", arguments).model.layers == yaml.safe_load(other)
    with pytest.raises(SystemExit):
        parse("train", "", [*arguments, "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["layers"] == yaml.safe_load(other)
    assert printed["model"]["name"] == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model.name", "a b:c"], r"model\.name is 'a b:c'; expected package\.module:function"),
        (["--model.name", ":build"], r"model\.name is ':build'"),
        (
            ["--model.name", "nets:build", "--model.layers", "[flatten]"],
            r"model\.layers .* null where model\.name is a func",
        ),
        (["--model.dropout", "1"], r"model\.dropout is 1\.0; expected a share from 0 to less than 1"),
        (["--model.l2", "-1"], r"model\.l2 is -1"),
        (["--model.activation", "rellu"], r"model\.activation"),
        (["--model.initialiser", ""], r"model\.initialiser is ''"),
        (["--model.grouped", "true"], r"model\.grouped is True; expected false with lenet5, or model\.name alexnet"),
        (
            ["--model.name", "googlenet", "--model.auxiliary_heads", "true", "--model.head", "softmax"],
            r"model\.auxiliary_heads is True; expected false with model\.head softmax",
        ),
    ],
)
def test_fields_that_do_not_go_together(arguments, said):
    with pytest.raises(ConfigError, match=said):
        parse("train", "", arguments)
