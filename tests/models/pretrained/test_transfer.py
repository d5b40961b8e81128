"""Weights from files of all of Keras' formats, layer by layer, and what is frozen."""

import json
import os
import pickle
import zipfile

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras.src.legacy.saving import legacy_h5_format

from convoy.errors import ModelError
from convoy.models.pretrained.transfer import InitialWeights, freeze, head_layers, pair_names, start_from
from convoy.training.network import untrained

pytestmark = pytest.mark.long

CLASSES = ("a", "b", "c")


def network(classes=3, filters=4, last="output", draws=0):
    """One of everything: a branch, batch norm, a layer within a layer, dropout, a last layer without weights."""
    keras.utils.set_random_seed(draws)
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(filters, 3, name="c1")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    left = keras.layers.Conv2D(3, 1, name="left")(x)
    right = keras.layers.Conv2D(3, 1, name="right")(x)
    x = keras.layers.Reshape((36, 3), name="rows")(keras.layers.Add(name="add")([left, right]))
    x = keras.layers.Bidirectional(keras.layers.LSTM(2), name="both")(x)
    x = keras.layers.Dropout(0.1, name="dropout")(x)
    x = keras.layers.Dense(classes, name=last)(x)
    model = keras.Model(image, keras.layers.Softmax(name="softmax")(x), name="net")
    for layer in model.layers:  # moving averages as well
        layer.set_weights([np.random.default_rng(draws).normal(size=w.shape) for w in layer.get_weights()])
    return model


def save_older(model, path):
    """As ``keras.applications`` has its files."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def save_nameless(model, path):
    """As Keras 3.0 did: the groups are numbered classes, and nothing has a name."""
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        file.visititems(lambda _, item: item.attrs.pop("name", None) and None)


FORMATS = {
    "archive": ("w.keras", keras.Model.save),
    "weights": ("w.weights.h5", keras.Model.save_weights),
    "whole, older": ("w.h5", keras.Model.save),
    "weights, older": ("w.h5", save_older),
    "without names": ("w.weights.h5", save_nameless),
}


@pytest.fixture(params=FORMATS)
def stored(request, tmp_path):
    """Saves a network in a format; returns the weights to start from."""
    name, save = FORMATS[request.param]

    def write(model, classes=None):
        save(model, str(tmp_path / name))
        return InitialWeights(str(tmp_path / name), name, classes)

    return write


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


def test_the_same_network_gets_the_same_weights(stored):
    source, target = network(draws=1), network(draws=2)
    transferred = start_from(target, stored(source), CLASSES)
    assert same(source, target)
    assert (transferred.new, transferred.unused) == ([], [])


def test_where_the_classes_differ_the_last_layer_alone_starts_anew(stored):
    source, target, fresh = network(10, draws=1), network(3, draws=2), network(3, draws=2)
    transferred = start_from(target, stored(source), CLASSES)
    assert transferred.new == ["output"]
    assert sorted(transferred.taken) == ["bn", "both", "c1", "left", "right"]
    for layer in target.layers:
        assert same(layer, (fresh if layer.name == "output" else source).get_layer(layer.name)), layer.name


@pytest.mark.parametrize(("classes", "new"), [(("a", "b", "c"), []), (("a", "c", "b"), ["output"]), (None, [])])
def test_as_many_classes_of_other_names_are_other_classes(tmp_path, classes, new):
    source, target = network(draws=1), network(draws=2)
    source.save_weights(tmp_path / "w.weights.h5")
    assert start_from(target, InitialWeights(str(tmp_path / "w.weights.h5"), "w", classes), CLASSES).new == new


def test_a_last_layer_of_another_name_starts_anew(tmp_path):
    save_older(network(10, last="predictions"), tmp_path / "w.h5")
    transferred = start_from(network(), InitialWeights(str(tmp_path / "w.h5"), "w.h5"), CLASSES)
    assert (transferred.new, transferred.unused) == (["output"], ["predictions"])
    assert str(transferred) == "weights of 5 layers; new: output; not used: predictions"


def test_weights_of_another_shape_are_refused_with_both(stored):
    with pytest.raises(ModelError, match=r"layer 'c1' has weights of 3x3x1x4, 4, but 3x3x1x6, 6 are given"):
        start_from(network(), stored(network(filters=6)), CLASSES)


def test_a_last_layer_that_differs_in_more_than_classes_is_refused(tmp_path):
    def head(width):
        image = keras.Input((4,))
        x = keras.layers.Dense(width, name="d")(image)
        return keras.Model(image, keras.layers.Dense(3, name="output")(x))

    head(5).save_weights(tmp_path / "w.weights.h5")
    model = head(5)
    weights = InitialWeights(str(tmp_path / "w.weights.h5"), "w.weights.h5")
    start_from(model, weights, CLASSES)
    with pytest.raises(ModelError, match=r"layer 'd' has weights of 4x6, 6, but 4x5, 5 are given"):
        start_from(head(6), weights, CLASSES)


def test_a_layer_that_is_missing_is_named(tmp_path):
    image = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, name="conv1")(image))
    keras.Model(image, keras.layers.Dense(3, name="output")(x)).save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(ModelError, match=r"has no layer 'c1' \(3x3x1x4, 4\), .* its layers are conv1, output"):
        start_from(network(), InitialWeights(str(tmp_path / "w.weights.h5"), "w"), CLASSES)


def unnamed(config, shape, classes, *_):
    image = keras.Input(shape)
    x = keras.layers.Dense(4)(keras.layers.Dense(4)(image))
    return keras.Model(image, keras.layers.Dense(classes, name="output")(x))


class Manifest:
    """What ``untrained`` needs of one."""

    shape, classes, pixel_mean, pixel_std, dtype = (4,), CLASSES, [0.0], [1.0], "uint8"


def test_layers_that_keras_has_named_are_found_by_their_order(tmp_path):
    keras.layers.Dense(1), keras.layers.Dense(1)  # move Keras' counters on
    source = unnamed(None, (4,), 3)
    source.save_weights(tmp_path / "w.weights.h5")
    keras.layers.Dense(1)
    target = unnamed(None, (4,), 3)
    assert {layer.name for layer in source.layers} & {layer.name for layer in target.layers} == {"output"}
    start_from(target, InitialWeights(str(tmp_path / "w.weights.h5"), "w"), CLASSES)
    assert same(source, target)


def test_unnamed_layers_have_the_same_names_in_every_build():
    names = [[layer.name for layer in untrained(unnamed, None, Manifest()).layers] for _ in range(2)]
    assert names[0] == names[1]


@given(st.integers(0, 5), st.integers(0, 5), st.lists(st.sampled_from("xyz"), unique=True))
def test_pairs_are_one_to_one_and_exact_names_win(first, count, others):
    own = [f"dense_{i}" if i else "dense" for i in range(count)]
    theirs = [f"dense_{i + first}" if i + first else "dense" for i in range(count)]
    pairs = pair_names([*own, *others], [*others, *theirs], {"dense"})
    assert pairs == {**dict(zip(own, theirs, strict=True)), **{name: name for name in others}}


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("name", ["w.h5", "w.keras", "w.weights.h5"])
def test_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelError, match=r"cannot be read .*expected a \.keras, \.weights\.h5 or \.h5 file"):
        start_from(network(), InitialWeights(name, name), CLASSES)
    assert not (tmp_path / "exploded").exists()


def test_of_an_archive_the_weights_alone_are_read(tmp_path, monkeypatch):
    """A network with a Lambda layer in it: Keras would have to run its code to build it."""
    monkeypatch.chdir(tmp_path)
    source, target = network(draws=1), network(draws=2)
    image = source.inputs[0]
    outputs = keras.layers.Lambda(lambda x: [x, os.system("touch exploded")][0], name="evil")(source.outputs[0])
    keras.Model(image, outputs).save("w.keras")
    (tmp_path / "exploded").unlink()  # of tracing it here
    with zipfile.ZipFile("w.keras") as archive:
        assert "__lambda__" in json.dumps(json.loads(archive.read("config.json")))
    start_from(target, InitialWeights("w.keras", "w.keras"), CLASSES)
    assert same(source, target)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"", "cannot be read"), (b"PK\x05\x06" + bytes(18), "cannot be read")],
)
def test_a_file_that_holds_nothing_is_one_line(tmp_path, content, said):
    if content is not None:
        (tmp_path / "w.h5").write_bytes(content)
    with pytest.raises(ModelError, match=said) as refused:
        start_from(network(), InitialWeights(str(tmp_path / "w.h5"), "w.h5"), CLASSES)
    assert str(refused.value).startswith("model.initial_weights 'w.h5'")
    assert "\n" not in str(refused.value)


def test_links_out_of_the_file_are_not_followed(tmp_path):
    save_older(network(), tmp_path / "secret.h5")
    save_older(network(), tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        del file["c1"]
        file["c1"] = h5py.ExternalLink("secret.h5", "/c1")
    with pytest.raises(ModelError, match="ExternalLink"):
        start_from(network(), InitialWeights(str(tmp_path / "w.h5"), "w.h5"), CLASSES)


def test_the_head_is_the_last_layer_with_weights():
    assert head_layers(network()) == {"output"}


def trainable(model):
    return {layer.name for layer in model.layers if layer.trainable and layer.weights}


def test_freezing_takes_the_layer_and_all_before_it():
    model = network()
    before = [layer.name for layer in model.layers]
    freeze(model, "bn")
    assert trainable(model) == {"left", "right", "both", "output"}
    freeze(model, before[max(before.index("left"), before.index("right"))])
    assert trainable(model) == {"both", "output"}


@given(st.sampled_from([layer.name for layer in network().layers if layer.name not in ("output", "softmax")]))
def test_nothing_that_a_frozen_layer_depends_on_is_trained(name):
    model = network()
    freeze(model, name)
    sub = keras.Model(model.inputs, model.get_layer(name).output)
    assert sub.trainable_variables == []
    assert "output" in trainable(model)


@pytest.mark.parametrize(
    ("name", "said"),
    [("rigth", "expected a layer of the network: .*; did you mean 'right'?"), ("output", "leaves nothing to train")],
)
def test_what_cannot_be_frozen(name, said):
    with pytest.raises(ModelError, match=said):
        freeze(network(), name)
