"""Own networks: functions of the user."""

import sys

import keras
import numpy as np
import pytest

from convoy.config import ModelConfig
from convoy.errors import ModelError
from convoy.models.builder import build
from convoy.training.optim.precision import in_precision
from tests.conftest import noise

HEAD = "import keras\nfrom keras import layers\n"
FUNCTIONS = {
    "functional": """
def build(input_shape, num_classes):
    image = keras.Input(input_shape)
    x = layers.Conv2D(4, 3, padding="same", kernel_initializer="ones")(image)
    x = layers.Add()([keras.ops.relu(x), image])
    x = layers.Dense(num_classes)(layers.Flatten()(x))
    return keras.Model(image, layers.Softmax()(x))
""",
    "sequential": """
def build(input_shape, num_classes):
    return keras.Sequential(
        [layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(num_classes, activation="softmax")]
    )
""",
    "nested": """
def build(input_shape, num_classes):
    stem = [layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization(name="norm")]
    base = keras.Sequential([keras.Input(input_shape), *stem], name="base")
    image = keras.Input(input_shape)
    x = layers.Flatten()(base(image))
    return keras.Model(image, layers.Dense(num_classes, activation="softmax")(x))
""",
}

FUNCTIONS["shared"] = """
def build(input_shape, num_classes):
    base = keras.Sequential([keras.Input(input_shape), layers.Conv2D(4, 3, padding="same", name="conv")], name="base")
    image = keras.Input(input_shape)
    x = layers.Flatten()(base(base(image)))
    return keras.Model(image, layers.Dense(num_classes, activation="softmax")(x))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module of the user into the current directory; returns ``model.name`` for its function ``build``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    before = set(sys.modules)

    def write(code, name="usernets"):
        (tmp_path / f"{name}.py").write_text(HEAD + code)
        return f"{name}:build"

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("usernets"):
            del sys.modules[name]


def from_function(name, shape=(8, 8, 4), classes=3, **options):
    return build(ModelConfig(name, **options), shape, classes, [128.0] * shape[-1], [74.0] * shape[-1])


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_functions_network_comes_layer_by_layer_behind_the_normalisation(module, kind):
    name = module(FUNCTIONS[kind])
    models = [from_function(name), from_function(name)]
    names = [[layer.name for layer in model.layers] for model in models]
    assert names[0] == names[1]
    assert names[0][:3] == ["image", "normalise", "conv" if kind in ("nested", "shared") else "conv2d"]
    model = models[0]
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    images = noise(5, 8, 8, 4)
    original = sys.modules["usernets"].build((8, 8, 4), 3)
    original(np.zeros((1, 8, 8, 4)))
    original.set_weights(model.get_weights()[-len(original.get_weights()) :])
    np.testing.assert_allclose(model(images), original((images - 128.0) / 74), atol=1e-5)


def test_weights_that_the_function_sets_are_kept_also_by_options(module):
    name = module("""
def build(input_shape, num_classes):
    image = keras.Input(input_shape)
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    model = keras.Model(image, layers.Dense(num_classes, activation="softmax", name="last")(layers.Flatten()(x)))
    model.set_weights([w * 0 + 0.5 for w in model.get_weights()])
    return model
""")
    for options in ({}, {"activation": "elu", "dropout": 0.1, "batch_norm": True}):
        model = from_function(name, **options)
        assert {float(value) for layer in ("conv", "last") for value in np.unique(model.get_layer(layer).kernel)} == {
            0.5
        }


def test_a_functions_network_computes_in_16_bits(module):
    model = in_precision(plain := from_function(module(FUNCTIONS["functional"])), "mixed_bfloat16")
    assert model.get_layer("conv2d").compute_dtype == "bfloat16"
    images = noise(3, 8, 8, 4)
    np.testing.assert_allclose(model(images), plain(images), atol=0.1)


RETURN = "def build(input_shape, num_classes):\n    return "


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (RETURN + "None", r"'usernets:build' returns NoneType; expected a Keras model"),
        (RETURN + "layers.Flatten()", r"returns Flatten; expected a Keras model"),
        ("def bild(a, b): ...", r"has no function 'build'; did you mean 'bild'"),
        ("build = 3", r"has no function 'build'"),
        ("import nopackage", r"usernets cannot be imported: ModuleNotFoundError: No module named 'nopackage' .*line 3"),
        ("def build(:", r"usernets cannot be imported: SyntaxError"),
        (RETURN + "{}['key']", r"fails for samples of \(8, 8, 4\): KeyError: 'key' \(.*usernets\.py, line 4\)"),
        ("def build(input_shape): ...", r"fails for .* build\(\) takes 1 positional argument but 2 were given"),
        (RETURN + "keras.Sequential([keras.Input(input_shape), layers.Flatten(), layers.Dense(9)])", r"returns \(9,\)"),
        (
            RETURN + "keras.Sequential([layers.Flatten(), layers.Dense(num_classes, 'sigmoid')])",
            r"'dense', is not a softmax; expected a softmax over the 3 classes as the last layer, e\.g\. keras",
        ),
        (
            RETURN + "keras.Sequential([keras.Input((9, 9, 4)), layers.Flatten(), layers.Dense(3, 'softmax')])",
            r"takes \(9, 9, 4\); expected one for the dataset's samples, \(8, 8, 4\)",
        ),
        (RETURN + "keras.Sequential([layers.Conv2D(3, 11), layers.Flatten()])", r"samples of 8x8x4|11"),
        (
            RETURN + "keras.Sequential([layers.Flatten(), layers.Lambda(lambda x: x), layers.Dense(3, 'softmax')])",
            r"layer 'lambda' is a Lambda, which evaluation and scoring could not load;",
        ),
        (
            "class Mine(layers.Layer):\n    def call(self, x): return x\n\n"
            + RETURN
            + "keras.Sequential([layers.Flatten(), Mine(), layers.Dense(3, 'softmax')])",
            r"layer 'mine' is a Mine, which evaluation and scoring could not load;",
        ),
        (
            RETURN + "keras.Sequential([layers.Flatten(), layers.Dense(4, lambda x: x), layers.Dense(3, 'softmax')])",
            r"layer 'dense' has a custom activation",
        ),
        (
            "class Mine(keras.Model):\n    def call(self, x): return x\n\n" + RETURN + "Mine()",
            r"returns a Mine whose layers cannot be inspected",
        ),
        (
            "def build(input_shape, num_classes):\n    image = keras.Input(input_shape)\n"
            "    flat = layers.Flatten()(image)\n    return keras.Model(image, [flat, flat])",
            r"1 inputs and 2 outputs; expected one of each",
        ),
    ],
)
def test_functions_that_are_wrong_are_told_in_one_line(module, code, said):
    with pytest.raises(ModelError, match=said) as caught:
        from_function(module(code))
    assert "\n" not in str(caught.value)


def test_a_module_that_is_not_there(module):
    with pytest.raises(ModelError, match=r"there is no module 'nosuchnets' in .*--py-files"):
        from_function("nosuchnets.small:build")
