"""The architectures: the papers' counts, a step, a file, any size."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from convoy.models.architectures.resnet import _padded
from convoy.models.architectures.table import ARCHITECTURES, resolve_variant
from convoy.models.layers.blocks import imagenet_preprocessing
from convoy.models.layers.lrn import LocalResponseNormalization
from tests.conftest import noise
from tests.models.networks import make, weights_without_values

pytestmark = pytest.mark.long

IMAGENET = (224, 224, 3)
# Sizes that are published, of papers' and their usual implementations; "trained" without moving statistics, as counted
# for networks without biases before batch normalisation, "all" as Keras counts.
PUBLISHED = [
    ("lenet5", {}, (32, 32, 1), 10, "all", 61_706),
    ("lenet5", {}, (28, 28, 1), 10, "all", 61_706),  # padded, as in the paper
    ("lenet5", {}, (28, 32, 1), 10, "all", 61_706),
    ("lenet5", {}, (31, 30, 1), 10, "all", 61_706),
    ("alexnet", {}, (227, 227, 3), 1000, "all", 62_378_344),
    ("alexnet", {"grouped": True}, (227, 227, 3), 1000, "all", 60_965_224),
    ("vgg11", {}, IMAGENET, 1000, "all", 132_863_336),
    ("vgg16", {}, IMAGENET, 1000, "all", 138_357_544),
    ("vgg19", {}, IMAGENET, 1000, "all", 143_667_240),
    ("googlenet", {}, IMAGENET, 1000, "all", 6_998_552),
    ("googlenet", {"auxiliary_heads": True}, IMAGENET, 1000, "all", 13_378_280),
    ("inception_v3", {}, (299, 299, 3), 1000, "all", 23_851_784),
    ("resnet18", {}, IMAGENET, 1000, "trained", 11_689_512),
    ("resnet34", {}, IMAGENET, 1000, "trained", 21_797_672),
    ("resnet50", {}, IMAGENET, 1000, "all", 25_636_712),
    ("resnet20", {}, (32, 32, 3), 10, "trained", 269_722),
    ("resnet56", {}, (32, 32, 3), 10, "trained", 853_018),
    ("mnist_cnn", {}, (28, 28, 1), 10, "all", 1_199_882),
    ("mlp", {}, (28, 28, 1), 10, "all", 669_706),
    ("cnn3d", {}, (32, 32, 32, 1), 40, "all", 921_736),
]
SHAPES = {"cnn1d": (50, 2), "cnn3d": (16, 18, 20, 1)}  # of samples in tests; images for all others
# Sides that no network was made for, and channels of a microscope's or a satellite's images.
ODD = [
    *[(name, "auto", shape) for name in ("alexnet", "vgg11") for shape in [(15, 63, 1), (33, 50, 5), (71, 67, 4)]],
    *[("vgg16", variant, shape) for variant in ("paper", "small") for shape in [(32, 75, 1), (45, 33, 5)]],
    *[("googlenet", variant, (1, 9, 2)) for variant in ("paper", "small")],
    *[("resnet18", variant, (32, 37, 4)) for variant in ("paper", "small")],
    *[("resnet20", "auto", shape) for shape in [(1, 1, 1), (9, 30, 5)]],
    ("resnet50", "paper", (33, 47, 1)),
    ("resnet50", "small", (1, 5, 6)),
    ("inception_v3", "paper", (75, 80, 5)),
    ("inception_v3", "small", (17, 22, 1)),
    *[("cnn1d", "auto", shape) for shape in [(1, 1), (1001, 12)]],
    *[("cnn3d", "auto", shape) for shape in [(11, 11, 11, 1), (12, 33, 20, 3)]],
    *[("mlp", "auto", shape) for shape in [(7, 1), (3, 5, 2), (3, 4, 5, 2)]],
]


@pytest.mark.parametrize(("name", "options", "shape", "classes", "counted", "parameters"), PUBLISHED)
def test_parameters_are_as_published(unset, name, options, shape, classes, counted, parameters):
    model = make(name, shape, classes, variant="paper", **options)
    weights = model.weights if counted == "all" else model.trainable_weights
    assert sum(math.prod(weight.shape) for weight in weights) == parameters
    assert model.name == name
    last = model.layers[-1]
    if not options.get("auxiliary_heads"):
        assert (last.units, last.activation.__name__) == (classes, "softmax")
        assert last.name == ("predictions" if ARCHITECTURES[name].imagenet else "output")


@pytest.mark.parametrize(
    ("name", "options"),  # the large ones do so in test_on_ranks
    [
        *[(name, {}) for name in ("lenet5", "resnet20", "mnist_cnn", "mlp", "cnn1d", "cnn3d")],
        ("alexnet", {"grouped": True}),
        pytest.param("googlenet", {"auxiliary_heads": True}, marks=pytest.mark.long),
    ],
)
def test_network_takes_a_step_and_its_file_predicts_the_same(tmp_path, name, options):
    shape = SHAPES.get(name, (32, 32, 1))
    keras.utils.set_random_seed(1)
    model = make(name, shape, 3, **options)
    samples, labels = noise(3, *shape), np.arange(3)
    optimizer = keras.optimizers.SGD(0.01)
    with tf.GradientTape() as tape:
        output = model(samples, training=True)
        rows = output if options.get("auxiliary_heads") else output[:, None]
        loss = sum(
            tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, row))
            for row in tf.unstack(rows, axis=1)
        )
    gradients = tape.gradient(loss, model.trainable_weights)
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)
    optimizer.apply(gradients, model.trainable_weights)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    expected = model(samples).numpy()
    assert expected.dtype == np.float32
    np.testing.assert_allclose(expected.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(loaded(samples), expected, atol=1e-5)
    assert loaded.name == name


@pytest.mark.parametrize(("name", "variant", "shape"), ODD)
def test_any_size_and_number_of_channels(unset, name, variant, shape):
    assert make(name, shape, 7, variant=variant).output_shape == (None, 7)


@given(st.sampled_from(list(ARCHITECTURES)), st.lists(st.integers(1, 400), min_size=2, max_size=2))
def test_auto_takes_the_small_variant_for_small_images_where_there_is_one(name, sides):
    architecture = ARCHITECTURES[name]
    variant = resolve_variant(name, "auto", [*sides, 3])
    has_small = architecture.smallest_small is not None
    assert (variant == "small") == (has_small and (max(sides) <= 64 or min(sides) < architecture.smallest))
    if has_small:  # what is given is taken
        assert {resolve_variant(name, given, [*sides, 3]) for given in ("paper", "small")} == {"paper", "small"}
        assert architecture.smallest_small <= 17


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16", "alexnet", "googlenet", "inception_v3"])
def test_small_variant_looks_closely_at_small_images(unset, name):
    """At least 7x7 places are left where the paper's network at its size has 14x14 or so."""
    model = make(name, (32, 32, 3))
    middle = {
        "resnet18": "conv4_block1_out",
        "resnet50": "conv4_block1_out",
        "vgg16": "block3_conv3",
        "alexnet": "conv3",
        "googlenet": "inception_4a",
        "inception_v3": "mixed4",
    }[name]
    assert min(model.get_layer(middle).output.shape[1:3]) >= 7


@pytest.mark.parametrize(
    ("name", "application"),
    [
        ("vgg16", keras.applications.VGG16),
        ("resnet50", keras.applications.ResNet50),
        ("inception_v3", keras.applications.InceptionV3),
    ],
)
def test_weights_files_of_keras_applications_fit(name, application):
    """Both ways: by the order of the layers, and by their names, whatever was built before."""
    with weights_without_values():
        keras.layers.Conv2D(1, 1)
        ours = weights_of(make(name, (224, 224, 3), 1000, preprocessing="imagenet"))
        small = weights_of(make(name, (32, 32, 3), 1000))
    with weights_without_values():
        theirs = weights_of(application(weights=None, input_tensor=keras.Input((224, 224, 3))))
    assert ours == theirs
    assert (small == theirs) == (name == "inception_v3")  # the stem of which changes its strides alone


def weights_of(model):
    return [(layer.name, [w.shape for w in layer.weights]) for layer in model.layers if layer.weights]


@pytest.mark.parametrize("mode", ["caffe", "tf"])
def test_imagenet_preprocessing_is_that_of_keras_applications(mode, tmp_path):
    image = keras.Input((6, 7, 3), dtype="uint8")
    keras.Model(image, imagenet_preprocessing(image, mode)).save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    images = noise(4, 6, 7, 3)
    expected = keras.applications.imagenet_utils.preprocess_input(images.astype(np.float32), mode=mode)
    np.testing.assert_allclose(model(images), expected, atol=1e-4)
    assert not model.weights


@pytest.mark.parametrize(("name", "first"), [("vgg16", "bgr"), ("inception_v3", "normalise")])
def test_imagenet_preprocessing_comes_before_the_first_convolution(unset, name, first):
    model = make(name, (80, 80, 3), preprocessing="imagenet")
    names = [layer.name for layer in model.layers]
    convolution = next(i for i, layer in enumerate(model.layers) if isinstance(layer, keras.layers.Conv2D))
    assert first in names[:convolution]


@pytest.mark.parametrize("channels", [1, 3, 5, 64])
def test_response_normalisation_is_the_papers(channels):
    values = np.random.default_rng(0).normal(0, 100, (2, 3, 4, channels)).astype(np.float32)
    expected = tf.nn.local_response_normalization(values, depth_radius=2, bias=2.0, alpha=1e-4, beta=0.75)
    np.testing.assert_allclose(LocalResponseNormalization()(values), expected, rtol=1e-5)


def test_response_normalisation_of_large_values_in_16_bits():
    values = np.full((1, 2, 2, 6), 1000, np.float16)  # whose squares a float16 cannot hold
    layer = LocalResponseNormalization(dtype="mixed_float16")
    np.testing.assert_allclose(layer(values), LocalResponseNormalization()(values.astype(np.float32)), rtol=1e-3)


@pytest.mark.parametrize("side", [1, 8, 9])
def test_shortcut_without_weights_takes_every_second_place_and_adds_channels_of_zeros(side):
    values = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)
    x = keras.Input(values.shape[1:])
    model = keras.Model(x, _padded(x, 8, 2, "shortcut"))
    expected = np.concatenate([values[:, ::2, ::2], np.zeros_like(values[:, ::2, ::2, :1]).repeat(5, axis=3)], axis=3)
    assert np.array_equal(model(values), expected)


def test_network_without_heads_takes_the_weights_of_the_one_with_them():
    trained = make("googlenet", (32, 40, 3), 4, auxiliary_heads=True)
    saved = make("googlenet", (32, 40, 3), 4)
    assert trained.output_shape == (None, 3, 4)
    assert {layer.name for layer in saved.layers} < {layer.name for layer in trained.layers}
    for layer in saved.layers:
        layer.set_weights(trained.get_layer(layer.name).get_weights())
    images = noise(2, 32, 40, 3)
    np.testing.assert_allclose(trained(images)[:, 0], saved(images), atol=1e-5)
