"""Sizes, what fits, and receptive fields: formulas against Keras itself and against brute force."""

from fractions import Fraction

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras import layers

from convoy.config import ModelConfig
from convoy.errors import ConfigError, ModelError
from convoy.models.architectures.table import ARCHITECTURES, Architecture
from convoy.models.builder import build
from convoy.models.summary.arithmetic import Field, Window, number, same, times, widest
from convoy.models.summary.shape_checks import check_geometry, named_failures, windows_of

WINDOWS = st.builds(
    Window, st.integers(1, 7), st.integers(1, 5), st.integers(1, 3), st.integers(0, 3), st.integers(0, 3)
)


def chain(shape, *network):
    x = image = keras.Input(shape)
    for layer in network:
        x = layer(x)
    return keras.Model(image, x)


def places(window, side):
    """Positions of the filter, counted one by one."""
    padded = window.before + side + window.after
    return [start for start in range(0, padded, window.stride) if start + window.extent <= padded]


@given(WINDOWS, st.integers(1, 40))
def test_output_and_rest_are_what_counting_gives(window, side):
    found = places(window, side)
    assert max(0, window.output(side)) == len(found)
    assert (window.room(side) >= 0) == bool(found)
    if found:
        assert window.rest(side) == window.before + side + window.after - (found[-1] + window.extent)
    assert window.fits(side) == (bool(found) and window.rest(side) == 0)


@given(WINDOWS, st.integers(1, 40))
def test_what_is_proposed_fits(window, side):
    changed = {"before": window.before, "after": window.after, "dilation": window.dilation}
    for stride in window.strides_that_fit(side) if window.room(side) >= 0 else ():
        assert Window(window.size, stride, **changed).fits(side)
    for size in window.sizes_that_fit(side):
        assert Window(size, window.stride, **changed).fits(side)
    assert all(window.fits(other) for other in window.sides_that_fit(side))
    assert window.output(window.smallest_side()) >= 1
    largest = window.largest_size(side)
    assert Window(largest, 1, **changed).output(side) >= 1
    assert Window(largest + 1, 1, **changed).output(side) < 1


@settings(max_examples=60)
@given(
    st.integers(1, 30),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from(["valid", "same", "causal"]),
    st.booleans(),
)
def test_sizes_are_those_of_keras(side, size, stride, dilation, padding, pool):
    assume(stride == 1 or dilation == 1)
    assume(not pool or (dilation == 1 and padding != "causal"))
    if pool:
        layer = layers.MaxPooling1D(size, stride, padding=padding)
    else:
        layer = layers.Conv1D(2, size, stride, padding, dilation_rate=dilation)
    (window,) = windows_of(layer, (side, 3))
    assert window.size == size
    if window.output(side) >= 1:
        assert layer.compute_output_shape((None, side, 3))[1] == window.output(side)
    else:
        with pytest.raises(ValueError, match="zero or negative"):
            layer.compute_output_shape((None, side, 3))


@pytest.mark.parametrize(
    ("window", "side", "formula"),
    [
        (Window(5), 32, "(32 - 5 + 0)/1 + 1 = 28"),
        (Window(5, before=2, after=2), 32, "(32 - 5 + 2*2)/1 + 1 = 32"),
        (Window(3, 3), 7, "(7 - 3 + 0)/3 + 1 = 2.33"),
        (Window(3, 1, dilation=2), 9, "(9 - 5 + 0)/1 + 1 = 5"),
        (same(224, 7, 2), 224, "(224 - 7 + 2 + 3)/2 + 1 = 112"),
        (Window(7, 2), 230, "(230 - 7 + 0)/2 + 1 = 112.5"),
    ],
)
def test_formula(window, side, formula):
    assert window.formula(side) == formula


def test_numbers_and_shapes_are_short():
    assert [number(Fraction(value)) for value in ("28", "1/3", "-2", "5/2")] == ["28", "0.33", "-2", "2.5"]
    assert times((28, None, 5)) == "28x?x5"


def brute_force_field(network, shape):
    """Side of the region whose values change the middle output, found by following gradients through ones."""
    import tensorflow as tf

    for weight in network.weights:
        weight.assign(tf.ones_like(weight))
    x = tf.Variable(tf.random.stateless_uniform((1, *shape, 1), (1, 2)))
    with tf.GradientTape() as tape:
        y = network(x)
        middle = y[0, *(side // 2 for side in y.shape[1:-1]), 0]
    touched = np.nonzero(tape.gradient(middle, x).numpy()[0, ..., 0])
    return tuple(int(places.max() - places.min()) + 1 for places in touched)


@settings(max_examples=12)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(1, 2), st.booleans()), min_size=1, max_size=3)
)
def test_receptive_field_is_what_gradients_reach(stack):
    field = Field((Fraction(1),), (Fraction(1),))
    network = []
    for size, stride, dilation, pool in stack:
        window = Window(size, stride, 1 if pool or stride > 1 else dilation)
        field = field.through([window])
        average = layers.AveragePooling1D(size, stride)
        network.append(average if pool else layers.Conv1D(1, size, stride, dilation_rate=window.dilation))
    side = int(field.size[0]) + 2 * int(field.jump[0])
    assert brute_force_field(chain((side, 1), *network), (side,)) == (int(field.size[0]),)


def test_where_branches_meet_the_widest_counts():
    narrow = Field((Fraction(3), Fraction(9)), (Fraction(1), Fraction(1)))
    wide = Field((Fraction(5), Fraction(1)), (Fraction(2), Fraction(1)))
    assert widest([narrow, wide]) == Field((Fraction(5), Fraction(9)), (Fraction(2), Fraction(1)))


# ---- what strict networks may not do


def test_seven_by_seven_with_a_stride_of_three_is_refused_and_one_and_two_fit():
    model = chain((7, 7, 3), layers.Conv2D(5, 3, strides=3, name="conv1"))
    with pytest.raises(ModelError) as caught:
        check_geometry(model, strict=True)
    assert str(caught.value) == (
        "layer 'conv1' (Conv2D): 7x7 with a 3x3 filter at stride 3: (7 - 3 + 0)/3 + 1 = 2.33 is not a whole number;"
        " strides 1 and 2 fit, filters of 1x1 or 4x4, inputs of 6x6 or 9x9, or padding 'same'"
    )
    check_geometry(model, strict=False)
    for stride in (1, 2):
        check_geometry(chain((7, 7, 3), layers.Conv2D(5, 3, strides=stride)), strict=True)


@pytest.mark.parametrize(
    ("shape", "layer", "said"),
    [
        (
            (224, 224, 3),
            layers.Conv2D(96, 11, 4),
            "54.25 is not a whole number; strides 1 and 3 fit, .*223x223 or 227x227",
        ),
        (
            (28, 25, 1),
            layers.MaxPooling2D(2),
            "28x25 with a 2x2 window .* 12.5 for the width .*; stride 1 fits, .*widths",
        ),
        ((500, 2), layers.Conv1D(4, 7, strides=2), "500 with a filter of 7 at stride 2: .* inputs of 499 or 501"),
        (
            (8, 9, 10, 1),
            layers.Conv3D(4, 2, strides=2),
            "8x9x10 with a 2x2x2 filter .* for the height .* heights of 8 or 10",
        ),
        (
            (56, 56, 4),
            layers.DepthwiseConv2D(1, 2),
            r"\(56 - 1 \+ 0\)/2 \+ 1 = 28.5 is not a whole number; stride 1 fits",
        ),
    ],
)
def test_a_rest_at_the_border_is_refused(shape, layer, said):
    with pytest.raises(ModelError, match=said):
        check_geometry(chain(shape, layer), strict=True)


def test_padding_same_and_layers_of_nested_networks():
    inner = chain((7, 7, 3), layers.Conv2D(5, 3, strides=3, name="deep"))
    inner.name = "backbone"
    with pytest.raises(ModelError, match="layer 'backbone/deep'"):
        check_geometry(chain((7, 7, 3), inner, layers.Flatten()), strict=True)
    check_geometry(chain((7, 7, 3), layers.Conv2D(5, 3, strides=3, padding="same")), strict=True)


# ---- what Keras refuses, in one line


def two(shape, other, merge):
    return merge([keras.Input(shape, name="a"), keras.Input(other, name="b")])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: chain((4, 4, 3), layers.Conv2D(5, 5, name="c")),
            r"layer 'c' \(Conv2D\): 4x4 with a 5x5 filter at stride 1: \(4 - 5 \+ 0\)/1 \+ 1 = 0 leaves nothing;"
            r" filters of up to 4x4 fit, inputs of at least 5x5, or padding 'same'$",
        ),
        (
            lambda: keras.Sequential([keras.Input((4, 4, 3)), layers.Conv2D(5, 3), layers.Conv2D(5, 3, name="c")]),
            r"layer 'c' \(Conv2D\): 2x2 with a 3x3 filter",
        ),
        (
            lambda: chain((1, 1, 3), layers.MaxPooling2D(2, name="c")),
            r"layer 'c' \(MaxPooling2D\): 1x1 with a 2x2 window .* = 0.5 leaves nothing; windows of up to 1x1 fit",
        ),
        (
            lambda: chain((2, 9, 9, 1), layers.Conv3D(4, 5, name="c")),
            "2x9x9 with a 5x5x5 filter .* for the depth leaves nothing; filters of up to 2 fit, depths of at least 5",
        ),
        (
            lambda: chain((6, 6, 1), layers.Conv2D(4, 3, dilation_rate=3, name="c")),
            r"dilation 3: 7 wide.* = 0 leaves nothing; filters of up to 2x2 fit, inputs of at least 7x7",
        ),
        (
            lambda: chain((4, 4, 3), layers.Flatten(), layers.Conv2D(4, 3, name="c")),
            r"layer 'c' \(Conv2D\) takes \(height, width, channels\), but its input is 48, with 1 axis",
        ),
        (
            lambda: chain((4, 4, 3), layers.Conv2D(4, 3, groups=2, name="c")),
            "4x4x3 has 3 channels, and 3/2 groups = 1.5 is not a whole number; groups 1 fit, or 2 or 4 channels",
        ),
        (
            lambda: two((28, 28, 3), (14, 14, 3), layers.Add(name="c")),
            r"layer 'c' \(Add\): 28x28x3 \(of 'a'\) and 14x14x3 \(of 'b'\) do not fit together: height 14 and 28,"
            " width 14 and 28, .*a stride or pooling of 2 on the path of the larger",
        ),
        (
            lambda: two((4, 4, 3), (4, 4, 5), layers.Multiply(name="c")),
            "channels 3 and 5, where all axes must agree; give all of them 3 or 5",
        ),
        (
            lambda: two((4, 4, 3), (6, 4, 5), layers.Concatenate(name="c")),
            "height 4 and 6, where all axes but the joined",
        ),
        (lambda: two((4, 4, 3), (6, 4, 3), lambda tensors: tensors[0] + tensors[1]), "Add.* height 4 and 6"),
        (
            lambda: chain((4, 4, 3), layers.Reshape((5, 5), name="c")),
            r"layer 'c' \(Reshape\) does not take 4x4x3: .*\(5, 5\)",
        ),
        (lambda: layers.Dense(0, name="c"), r"layer 'c' \(Dense\): .*units=0"),
        (lambda: layers.Conv2D(3, (3, 0), name="c"), r"layer 'c' \(Conv2D\): .*kernel_size=\(3, 0\)"),
    ],
)
def test_what_keras_refuses_names_the_layer_the_numbers_and_what_fits(make, said):
    with pytest.raises(ModelError, match=said) as caught, named_failures():
        make()
    assert "\n" not in str(caught.value)


def test_a_layer_that_was_made_for_other_channels():
    shared = layers.Conv2D(4, 3, name="shared")
    shared(keras.Input((9, 9, 3)))
    with (
        pytest.raises(ModelError, match=r"layer 'shared' .* built for 3 channels, but its input is 9x9x5"),
        named_failures(),
    ):
        shared(keras.Input((9, 9, 5)))


def test_errors_of_other_code_go_through_as_they_are():
    error = ValueError("my own")
    with pytest.raises(ValueError, match="my own") as caught, named_failures():
        raise error
    assert caught.value is error
    with pytest.raises(ConfigError), named_failures():
        raise ConfigError("as it is")
    assert keras.config.is_traceback_filtering_enabled()


class Own(layers.Layer):
    def call(self, x):
        raise TypeError("a mistake in this function")


def test_mistakes_in_own_layers_keep_their_traceback():
    with pytest.raises(TypeError, match="a mistake in this function"), named_failures():
        Own()(keras.Input((3,)))


def test_architectures_say_it_too(monkeypatch):
    def tower(x, num_classes, config):
        return layers.Dense(num_classes)(layers.Flatten()(layers.Conv2D(4, 9, name="wide")(x)))

    monkeypatch.setitem(ARCHITECTURES, "tower", Architecture(tower))
    with pytest.raises(
        ModelError, match=r"tower does not fit images of 8x8x3: layer 'wide' \(Conv2D\): 8x8 with a 9x9"
    ):
        build(ModelConfig("tower"), (8, 8, 3), 10, [0.0] * 3, [1.0] * 3)
