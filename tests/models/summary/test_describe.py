"""What is told of networks: known numbers, branches, shared layers."""

import math

import keras
import numpy as np
import pytest
from keras import layers

from convoy.config import TrainingConfig
from convoy.errors import ModelError
from convoy.models.summary.describe import describe
from convoy.models.summary.graph import calls_of, without_weights
from convoy.models.summary.text import full_text
from tests.models.networks import ONE, chain, layer_of


@pytest.mark.parametrize(
    ("padding", "volume", "formula"),
    [("valid", (28, 28, 5), "(32 - 5 + 0)/1 + 1 = 28"), ("same", (32, 32, 5), "(32 - 5 + 2*2)/1 + 1 = 32")],
)
def test_five_filters_of_five_by_five(padding, volume, formula):
    network = describe(chain((32, 32, 3), layers.Conv2D(5, 5, padding=padding, name="conv")), ONE)
    conv = layer_of(network, "conv")
    assert (conv.output, conv.formula, conv.parameters, conv.trainable) == (volume, formula, 380, 380)
    assert conv.multiply_adds == math.prod(volume) * 5 * 5 * 3
    assert (conv.sees, conv.jump, conv.left_out) == ((5, 5), (1.0, 1.0), (0, 0))
    assert conv.activation_bytes == 4 * math.prod(volume)


def test_lenet5_layer_by_layer(lenet5):
    told = {layer.name: (layer.output, layer.parameters, layer.multiply_adds, layer.sees) for layer in lenet5.layers}
    assert told == {
        "image": ((32, 32, 1), 0, 0, (1, 1)),
        "normalise": ((32, 32, 1), 0, 0, (1, 1)),
        "c1": ((28, 28, 6), 156, 117_600, (5, 5)),
        "s2": ((14, 14, 6), 0, 0, (6, 6)),
        "c3": ((10, 10, 16), 2_416, 240_000, (14, 14)),
        "s4": ((5, 5, 16), 0, 0, (16, 16)),
        "c5": ((1, 1, 120), 48_120, 48_000, (32, 32)),
        "flatten": ((120,), 0, 0, (32, 32)),
        "f6": ((84,), 10_164, 10_080, "all"),
        "output": ((10,), 850, 840, "all"),
    }
    assert (lenet5.parameters, lenet5.trainable, lenet5.multiply_adds) == (61_706, 61_706, 416_520)
    values = 28 * 28 * 6 + 14 * 14 * 6 + 10 * 10 * 16 + 5 * 5 * 16 + 120 + 84 + 10 + 32 * 32
    assert lenet5.activation_bytes == 64 * (4 * values + 32 * 32)  # the image itself is uint8; Flatten is a view
    assert (lenet5.global_batch, lenet5.ranks, lenet5.batch) == (128, 2, 64)


def test_vgg16_as_in_cs231n(vgg16):
    """https://cs231n.github.io/convolutional-networks/#case: 138M weights."""
    assert (vgg16.parameters, vgg16.multiply_adds) == (138_357_544, 15_470_264_320)
    assert layer_of(vgg16, "block1_conv1").output == (224, 224, 64)
    assert layer_of(vgg16, "block1_conv1").parameters == (3 * 3 * 3) * 64 + 64
    assert layer_of(vgg16, "block5_conv3").multiply_adds == 14 * 14 * 512 * 3 * 3 * 512
    assert layer_of(vgg16, "fc1").multiply_adds == 7 * 7 * 512 * 4096
    assert layer_of(vgg16, "block5_pool").sees == (212, 212)
    assert vgg16.weight_bytes == 4 * 138_357_544


def test_networks_with_branches(resnet50, inception_v3):
    """Fields as in Araujo et al., Distill 2019; multiply-adds as in He 2015 (3.8 G) and Szegedy 2015 (5.7 G)."""
    assert (resnet50.parameters, resnet50.trainable) == (25_636_712, 25_583_592)
    assert resnet50.multiply_adds == 3_857_973_248
    assert layer_of(resnet50, "conv5_block3_out").sees == (483, 483)
    assert layer_of(resnet50, "conv1_conv").left_out == (1, 1)
    assert inception_v3.parameters == 23_851_784
    assert inception_v3.multiply_adds == 5_713_216_096
    assert layer_of(inception_v3, "mixed10").sees == (1311, 1311)
    for network in (resnet50, inception_v3):
        assert all(max(layer.sources, default=-1) < index for index, layer in enumerate(network.layers))
        assert network.uncounted == ()


def counted(model, image):
    """Multiply-adds that TensorFlow itself counts (it counts each as two operations)."""
    import tensorflow as tf
    from tensorflow.python.profiler import model_analyzer, option_builder

    graph = tf.function(model).get_concrete_function(tf.TensorSpec((1, *image), tf.float32)).graph
    options = option_builder.ProfileOptionBuilder(option_builder.ProfileOptionBuilder.float_operation())
    options = options.with_empty_output().with_accounted_types([".*Conv.*", "MatMul", "DepthwiseConv2dNative"])
    return model_analyzer.profile(graph, options=options.build()).total_float_ops // 2


@pytest.mark.parametrize(
    ("shape", "layer", "expected"),
    [
        ((8, 8, 6), layers.Conv2D(4, 3, groups=2, use_bias=False), 6 * 6 * 4 * 9 * 3),
        ((8, 8, 6), layers.DepthwiseConv2D(3, use_bias=False), 6 * 6 * 6 * 9),
        ((8, 8, 6), layers.SeparableConv2D(4, 3, use_bias=False), 6 * 6 * (6 * 9 + 6 * 4)),
        ((8, 8, 6), layers.Conv2DTranspose(4, 2, strides=2, use_bias=False), 8 * 8 * 6 * 4 * 4),
        ((20, 3), layers.Conv1D(4, 5, strides=3, use_bias=False), 6 * 4 * 5 * 3),
        ((6, 7, 8, 2), layers.Conv3D(4, (2, 3, 1), use_bias=False), 5 * 5 * 8 * 4 * 6 * 2),
        ((5, 6), layers.Dense(7, use_bias=False), 5 * 6 * 7),
        ((9, 9, 2), layers.BatchNormalization(), 0),
        ((9, 9, 2), layers.GlobalAveragePooling2D(), 0),
    ],
)
def test_multiply_adds_of_each_kind(shape, layer, expected):
    model = chain(shape, layer)
    assert describe(model, ONE).multiply_adds == expected
    if isinstance(layer, (layers.DepthwiseConv2D, layers.SeparableConv2D)) or type(layer) is layers.Conv1D:
        assert counted(model, shape) == expected


def test_transposed_upsampling_padding_and_cropping_have_formulas():
    network = describe(
        chain(
            (16, 16, 2),
            layers.Conv2DTranspose(4, 3, strides=2, name="up"),
            layers.UpSampling2D(2, name="twice"),
            layers.ZeroPadding2D(((1, 2), (1, 2)), name="pad"),
            layers.Cropping2D(5, name="crop"),
        ),
        ONE,
    )
    assert [layer.formula for layer in network.layers[1:]] == [
        "(16 - 1)*2 + 3 = 33",
        "33*2 = 66",
        "66 + 1 + 2 = 69",
        "69 - 5 - 5 = 59",
    ]
    assert [layer.jump[0] for layer in network.layers[1:]] == [0.5, 0.25, 0.25, 0.25]


def test_sides_that_differ_have_a_formula_each():
    network = describe(chain((28, 20, 1), layers.Conv2D(2, (5, 3), name="conv")), ONE)
    conv = layer_of(network, "conv")
    assert conv.formula == "(28 - 5 + 0)/1 + 1 = 24, (20 - 3 + 0)/1 + 1 = 18"
    assert conv.sees == (5, 3)
    assert "5x3" in full_text(network)


def test_three_filters_of_three_see_as_much_as_one_of_seven():
    small = describe(chain((20, 20, 1), *(layers.Conv2D(2, 3) for _ in range(3))), ONE)
    large = describe(chain((20, 20, 1), layers.Conv2D(2, 7)), ONE)
    assert small.layers[-1].sees == large.layers[-1].sees == (7, 7)
    assert small.layers[-1].output == large.layers[-1].output


def test_field_where_branches_meet_and_after_squeeze_and_excite():
    image = keras.Input((32, 32, 3))
    a, b = layers.Conv2D(4, 5, padding="same")(image), layers.Conv2D(4, (1, 9), padding="same")(image)
    joined = layers.Add(name="joined")([a, b])
    weights = layers.Dense(4, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(joined))
    excited = layers.Multiply(name="excited")([joined, weights])
    network = describe(keras.Model(image, excited), ONE)
    assert layer_of(network, "joined").sees == (5, 9)
    assert layer_of(network, "excited").sees == "all"


class Own(layers.Layer):
    """A layer that nothing is known of."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3))

    def call(self, x):
        return x @ self.kernel


def test_what_is_not_known_is_not_made_up():
    network = describe(chain((8, 8, 2), Own(name="mine"), layers.Conv2D(4, 3, name="conv")), ONE)
    assert (layer_of(network, "mine").multiply_adds, layer_of(network, "mine").sees) == (None, None)
    assert layer_of(network, "conv").sees is None
    assert network.uncounted == ("mine",)
    assert "not counted    multiply-adds of mine" in full_text(network)


def test_shared_and_nested_layers_count_their_weights_once():
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    inner = chain((None, None, 4), shared, layers.MaxPooling2D(2, name="pool"), name="backbone")
    model = chain((16, 16, 4), shared, inner, layers.Dense(2, name="dense"))
    network = describe(model, ONE)
    assert [layer.name for layer in network.layers] == ["image", "shared", "backbone/shared", "backbone/pool", "dense"]
    assert [layer.output for layer in network.layers][2:4] == [(16, 16, 4), (8, 8, 4)]
    assert [layer.parameters for layer in network.layers] == [0, 148, 0, 0, 10]
    assert network.parameters == 158 == model.count_params()
    assert network.multiply_adds == 2 * (16 * 16 * 4 * 36) + 8 * 8 * 4 * 2


def test_frozen_layers_and_statistics_are_not_trained():
    frozen = layers.Dense(5, name="frozen")
    frozen.trainable = False
    network = describe(chain((4,), frozen, layers.BatchNormalization(name="norm")), ONE)
    assert (layer_of(network, "frozen").parameters, layer_of(network, "frozen").trainable) == (25, 0)
    assert (network.parameters, network.trainable) == (45, 10)
    assert "45 in 180 B; 10 trained, 35 not" in full_text(network)


def test_memory_follows_batch_ranks_and_precision():
    model = chain((10,), layers.Dense(6))
    values = 10 + 6
    one, three, half = (
        describe(model, TrainingConfig(num_workers=workers, global_batch_size=100, precision=precision))
        for workers, precision in ((0, "float32"), (3, "float32"), (3, "mixed_float16"))
    )
    assert one.activation_bytes == 100 * 4 * values
    assert (three.batch, three.activation_bytes) == (34, 34 * 4 * values)
    assert half.activation_bytes == 34 * 2 * values
    assert "34 samples, a rank's share of a global batch of 100 on 3 ranks" in full_text(three)


def test_network_that_is_no_graph_is_one_layer():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__(name="opaque")
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    model = Subclassed()
    model(np.zeros((1, 4), np.float32))
    network = describe(model, ONE)
    assert [layer.name for layer in network.layers] == ["opaque"]
    assert (network.parameters, network.uncounted) == (15, ("opaque",))
    assert full_text(network)


# ---- without weights


def test_weights_are_not_made():
    before = len(calls_of(chain((4,), layers.Dense(3))))
    model = without_weights(lambda: chain((100_000,), layers.Dense(1_000_000, name="huge")))  # 400 GB
    assert before == 2
    assert model.get_layer("huge").kernel.shape == (100_000, 1_000_000)
    # Keras would make waiting weights at the end of the next stateless scope.
    with keras.StatelessScope():
        pass
    small = chain((4,), layers.Dense(3))
    assert small(np.ones((1, 4), np.float32)).shape == (1, 3)


def test_networks_that_need_values_are_built_as_usual():
    def build_network():
        layer = layers.Dense(3)
        model = chain((4,), layer)
        layer.set_weights([np.ones((4, 3)), np.zeros(3)])
        keras.Variable(np.ones(3))  # not allowed without values
        return model

    assert describe(without_weights(build_network), ONE).parameters == 15


def test_what_is_refused_is_refused_once():
    asked = []

    def build_network():
        asked.append(1)
        raise ModelError("no")

    with pytest.raises(ModelError, match="no"):
        without_weights(build_network)
    assert len(asked) == 1


# ---- text
