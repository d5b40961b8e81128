"""Models of other programs: their scale, their head, their names, and the files that they come in."""

import base64
import importlib
import json
import shutil
from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
from keras import layers

from convoy.config import ScoringConfig
from convoy.config.loading import parse
from convoy.errors import ConfigError, ModelError
from convoy.inference.predictor import Predictor
from convoy.models.external.facts import ModelFacts
from convoy.models.external.files import read_network
from convoy.models.external.package import file_of, foreign_package
from convoy.tracking.model_io import load_package
from convoy.workflows.model_facts import class_names, facts_of
from tests.conftest import encoded
from tests.field.inputs.foreign_models import (
    PIXELS,
    SIDE,
    classifier,
    keras_2_files,
    with_lambda,
    with_module,
    with_module_in_keras,
)
from tests.logged import connect, log_foreign

FLOAT = PIXELS.astype(np.float32)
IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A folder with files of Keras 2, and what Keras 2 computed with them."""
    folder = tmp_path_factory.mktemp("keras2")
    return folder, keras_2_files(folder)


def package_of(network, **facts):
    return foreign_package("runs:/1/model", file_of(network), None, None, None, ModelFacts(**facts))


def probabilities(package, pixels=PIXELS):
    return Predictor(package, 2).predict(pixels)


def softmax(values):
    values = np.exp(values - values.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def sigmoid(values):
    return np.concatenate([1 - 1 / (1 + np.exp(-values)), 1 / (1 + np.exp(-values))], axis=1)


@pytest.mark.parametrize(
    ("preprocessing", "given"),
    [
        ("none", FLOAT),
        ("0..1", FLOAT / 255),
        ("-1..1", FLOAT / 127.5 - 1),
        ("imagenet", (FLOAT / 255 - IMAGENET[0]) / IMAGENET[1]),
        ("caffe", keras.applications.resnet50.preprocess_input(FLOAT.copy())),
        ({"mean": [100, 110, 120], "std": [50, 60, 70]}, (FLOAT - [100, 110, 120]) / [50, 60, 70]),
        ({"mean": [127.5], "std": [127.5]}, FLOAT / 127.5 - 1),
    ],
)
def test_samples_go_through_what_they_went_through_in_training(preprocessing, given, capsys):
    network = classifier("softmax")
    expected = network.predict(given.astype(np.float32), verbose=0)
    package = package_of(network, preprocessing=preprocessing)
    np.testing.assert_allclose(probabilities(package), expected, atol=1e-5)
    assert package.spec.dtype == "uint8"
    assert capsys.readouterr().err == ""
    half = Predictor(package, 2, embeddings=True, half_precision=True).predict_all(PIXELS)
    np.testing.assert_allclose(half[0], expected, atol=0.05)
    assert half[1].shape == (len(PIXELS), 3)


@pytest.mark.parametrize(
    ("first", "warned"),
    [
        (None, True),
        (layers.BatchNormalization(), True),
        (layers.Rescaling(1 / 255), False),
        (layers.Normalization(mean=[127.0] * 3, variance=[5000.0] * 3), False),
    ],
)
def test_a_model_whose_first_layers_do_not_normalise_gets_a_warning_that_names_the_field(first, warned, capsys):
    package_of(classifier("softmax", first=first))
    said = capsys.readouterr().err
    assert ("scoring.preprocessing" in said) == warned
    assert said.count("\n") == warned


def test_a_model_that_scales_by_itself_and_gets_scaled_samples_gets_a_warning(capsys):
    network = classifier("softmax", first=layers.Rescaling(1 / 255))
    package_of(network, preprocessing="0..1")
    assert "scales its samples itself (layer rescaling" in capsys.readouterr().err
    package_of(network, preprocessing="none")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"head": "logits"}, r"ends with a softmax already"),
        ({"preprocessing": {"mean": [0.5] * 3, "std": [0.5] * 3}}, r"pixels from 0 to 1.*multiply all by 255"),
        ({"preprocessing": {"mean": [0.5] * 2, "std": [90.0]}}, r"3 channels.*2 of mean"),
        ({"preprocessing": {"mean": [90.0], "std": [0.0]}}, r"std of 0"),
        ({"classes": ["a", "b"]}, r"3 classes, but 2 names"),
        ({"head": "sigmoid"}, r"3 values of a sigmoid"),
        ({"size": [20, 20]}, r"shape \(12, 12, 3\), which images of \(20, 20, 3\) do not fit"),
    ],
)
def test_facts_that_do_not_fit_the_network_are_refused(facts, message):
    with pytest.raises(ModelError, match=message):
        package_of(classifier("softmax"), **facts)


def test_a_network_for_any_size_gets_one():
    network = classifier("softmax", shape=(None, None, 3))
    with pytest.raises(ModelError, match=r"scoring\.image_size"):
        package_of(network, preprocessing="none")
    package = package_of(network, preprocessing="0..1", size=[SIDE, SIDE], resize="center_crop")
    assert (package.geometry.shape, package.geometry.resize) == ((SIDE, SIDE, 3), "center_crop")
    np.testing.assert_allclose(probabilities(package), network.predict(FLOAT / 255, verbose=0), atol=1e-5)
    segments = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 1, activation="softmax")])
    with pytest.raises(ModelError, match=r"expected \(None, K\)"):
        package_of(segments, size=[4, 4, 3])


def test_one_sigmoid_is_two_classes():
    network = classifier("sigmoid", 1)
    given = network.predict(FLOAT, verbose=0)
    for facts in ({}, {"head": "sigmoid"}):
        package = package_of(network, preprocessing="none", classes=["cat", "dog"], **facts)
        assert package.classes == ["cat", "dog"]
        np.testing.assert_allclose(probabilities(package), np.concatenate([1 - given, given], axis=1), atol=1e-6)
    separate = keras.Model(network.input, keras.ops.sigmoid(classifier(None, 1)(network.input)))
    assert probabilities(package_of(separate, preprocessing="none")).shape == (4, 2)


@pytest.mark.parametrize("count", [1, 3])
def test_logits_are_taken_where_the_loss_or_the_user_says_so(count):
    network = classifier(None, count)
    expected = (softmax if count > 1 else sigmoid)(network.predict(FLOAT, verbose=0))
    with pytest.raises(ModelError, match=r"layer 'last' \(Dense\).*scoring\.head"):
        package_of(network, preprocessing="none")
    stated = package_of(network, preprocessing="none", head="logits")
    losses = keras.losses.BinaryCrossentropy, keras.losses.SparseCategoricalCrossentropy
    network.compile("adam", losses[count > 1](from_logits=True))
    for package in (stated, package_of(network, preprocessing="none")):
        np.testing.assert_allclose(probabilities(package), expected, atol=1e-6)
    network.compile("adam", losses[count > 1](from_logits=False))
    with pytest.raises(ModelError, match=r"scoring\.head"):
        package_of(network, preprocessing="none")


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(ModelError, match="'cat' is given twice"):
        package_of(classifier("softmax", 3), preprocessing="none", classes=["cat", "dog", "cat"])


def test_several_sigmoids_are_several_labels():
    with pytest.raises(ModelError, match="several labels"):
        package_of(classifier("sigmoid", 3))


@pytest.mark.parametrize("head", [None, "logits"])
def test_logits_of_several_labels_do_not_become_a_softmax(head):
    network = classifier(None, 3)
    network.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    with pytest.raises(ModelError, match=r"3 values.*label of its own"):
        package_of(network, preprocessing="none", head=head)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (keras.losses.CategoricalFocalCrossentropy(from_logits=True), "softmax"),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), "softmax"),
        (keras.losses.BinaryFocalCrossentropy(from_logits=True), "sigmoid"),
        ([keras.losses.BinaryCrossentropy(from_logits=True)], "sigmoid"),
        ({"last": keras.losses.CategoricalCrossentropy(from_logits=True)}, "softmax"),
        (keras.losses.BinaryCrossentropy(), None),
        ("sparse_categorical_crossentropy", None),
        (keras.losses.Hinge(), None),
    ],
)
def test_the_activation_of_a_loss_is_read_from_the_file(tmp_path, loss, expected):
    network = classifier(None, 3)
    network.compile("adam", loss)
    network.save(tmp_path / "model.keras")
    assert read_network(tmp_path / "model.keras", "model").applied == expected


def test_an_average_of_softmaxes_is_one_as_before():
    a, b = classifier("softmax"), classifier("softmax")
    image = keras.Input((SIDE, SIDE, 3))
    both = keras.Model(image, layers.Average()([a(image), b(image)]))
    np.testing.assert_allclose(
        probabilities(package_of(both, preprocessing="none")), a.predict(FLOAT, verbose=0), atol=1e-5
    )


@pytest.mark.parametrize("name", ["softmax.h5", "softmax", "logit.h5", "logit"])
def test_files_of_keras_2_give_what_keras_2_computed(old, name):
    """As Teachable Machine writes them: networks in networks, ``groups`` in ``DepthwiseConv2D``; and SavedModels."""
    folder, truth = old
    read = read_network(folder / name, name)
    facts = ModelFacts(preprocessing="-1..1")
    package = foreign_package(name, read.content, None, None, None, facts, read.applied)
    expected = truth["softmax"] if name.startswith("softmax") else sigmoid(truth["logit"])
    np.testing.assert_allclose(probabilities(package), expected, atol=1e-5)
    assert read.kind == ("h5" if name.endswith("h5") else "saved_model")


@pytest.mark.parametrize(("name", "place"), [("softmax", "model"), ("softmax.h5", "model.h5")])
def test_models_that_mlflow_logged_with_keras_2_are_read_without_their_pickles(old, tmp_path, name, place):
    """``mlflow.tensorflow`` writes ``data/model`` or ``data/model.h5``, and custom objects as a pickle."""
    folder, truth = old
    (tmp_path / "data").mkdir()
    (tmp_path / "MLmodel").write_text("flavors:\n  tensorflow:\n    data: data\n    model_type: keras\n")
    (tmp_path / "data" / "custom_objects.cloudpickle").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    copy = shutil.copytree if (folder / name).is_dir() else shutil.copyfile
    copy(folder / name, tmp_path / "data" / place)
    read = read_network(tmp_path, "runs:/1/model")
    package = foreign_package("m", read.content, None, None, None, ModelFacts(preprocessing="-1..1"), read.applied)
    np.testing.assert_allclose(probabilities(package), truth["softmax"], atol=1e-5)
    assert not Path("ran").exists()


def test_code_in_files_is_refused_before_keras_sees_it(tmp_path, old):
    with pytest.raises(ModelError, match=r"'evil' holds Python code"):
        read_network(with_lambda(tmp_path), "bad.h5")
    with pytest.raises(ModelError, match=r"subprocess\.Popen"):
        read_network(with_module(tmp_path), "module.h5")
    (tmp_path / "module.keras").write_bytes(with_module_in_keras())
    with pytest.raises(ModelError, match=r"subprocess\.Popen"):
        read_network(tmp_path / "module.keras", "module.keras")
    folder, _ = old
    metadata = (folder / "softmax" / "keras_metadata.pb").read_bytes()
    bad = tmp_path / "saved"
    (bad / "variables").mkdir(parents=True)
    (bad / "saved_model.pb").write_bytes(b"")
    (bad / "keras_metadata.pb").write_bytes(metadata.replace(b'"class_name": "Conv2D"', b'"class_name": "Lambda"'))
    with pytest.raises(ModelError, match="Python code"):
        read_network(bad, "saved")
    (bad / "keras_metadata.pb").write_bytes(metadata[:-7])
    with pytest.raises(ModelError, match="keras_metadata"):
        read_network(bad, "saved")


def test_a_saved_model_that_is_only_a_graph_is_refused_with_what_to_do(tmp_path):
    classifier("softmax").export(str(tmp_path / "exported"))
    with pytest.raises(ModelError, match=r"model\.save\('model\.keras'\)"):
        read_network(tmp_path / "exported", "exported")


def test_weights_alone_and_other_files_are_refused(tmp_path):
    classifier("softmax").save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(ModelError, match="weights only"):
        read_network(tmp_path / "a.weights.h5", "a")
    (tmp_path / "b.h5").write_bytes(b"no network")
    (tmp_path / "folder").mkdir()
    for name in ("b.h5", "folder"):
        with pytest.raises(ModelError, match="expected"):
            read_network(tmp_path / name, name)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0 Class 1\n1 Class 2\n", ["Class 1", "Class 2"]),
        ("cat\n\ndog \n", ["cat", "dog"]),
        ("\ufeff0 a\r\n1 b\r\n", ["a", "b"]),
        ("1 dog\n0 cat\n", ["cat", "dog"]),
        ("0 cat\n0 dog\n", ["0 cat", "0 dog"]),
        ("1 euro\n2 euro\n", ["1 euro", "2 euro"]),
    ],
)
def test_class_names_are_read_from_a_file(tmp_path, text, names):
    (tmp_path / "labels.txt").write_bytes(text.encode())
    assert class_names(str(tmp_path / "labels.txt")) == names
    assert facts_of(ScoringConfig(classes=str(tmp_path / "labels.txt"))).classes == names


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00"])
def test_a_file_without_class_names_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"scoring\.classes"):
        class_names(str(tmp_path / "labels.txt"))


def test_fields_are_read_from_the_command_line():
    arguments = ["--scoring.preprocessing", "-1..1", "--scoring.classes", "[a, b]", "--scoring.image_size", "[8, 9]"]
    section = parse("score", "", arguments).scoring
    assert (section.preprocessing, section.classes, section.image_size) == ("-1..1", ["a", "b"], [8, 9])
    given = parse("score", "", ["--scoring.preprocessing", "{mean: [1, 2, 3], std: [4, 5, 6]}"]).scoring.preprocessing
    assert given == {"mean": [1, 2, 3], "std": [4, 5, 6]}
    for bad in (["--scoring.preprocessing", "0..2"], ["--scoring.preprocessing", "{mean: [1]}"]):
        with pytest.raises(ConfigError, match=r"scoring\.preprocessing"):
            parse("score", "", bad)
    for bad in ("[8]", "[8, 8, 2]", "[0, 8]"):
        with pytest.raises(ConfigError, match=r"scoring\.image_size"):
            parse("score", "", ["--scoring.image_size", bad])


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return connect(tmp_path)


def run(job, capsys, *arguments):
    status = importlib.import_module(f"jobs.{job}").main(list(arguments))
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else None, err


def test_an_imported_model_is_scored_and_served_with_all_that_was_stated(old, store, capsys):
    folder, truth = old
    (folder / "labels.txt").write_text("0 ant\n1 bee\n")
    facts = ["--scoring.classes", str(folder / "labels.txt"), "--scoring.preprocessing", "-1..1"]
    tracking = ["--tracking.uri", store, "--tracking.registered_model", "insects"]
    status, line, err = run("import_model", capsys, "--model", str(folder / "softmax.h5"), *facts, *tracking)
    assert status == 0, err
    assert (line["model_uri"], line["kind"], line["classes"]) == ("models:/insects/1", "h5", 2)
    package = load_package("models:/insects/1")
    np.testing.assert_allclose(probabilities(package), truth["softmax"], atol=1e-5)
    served = mlflow.pyfunc.load_model("models:/insects/1")
    texts = [base64.b64encode(encoded(pixels)).decode() for pixels in PIXELS]
    found = served.predict(pd.DataFrame({"image": texts}))
    assert found["prediction"].tolist() == [["ant", "bee"][i] for i in truth["softmax"].argmax(1)]
    np.testing.assert_allclose(found["probability"].astype(float), truth["softmax"].max(1), atol=1e-5)
    with pytest.raises(ConfigError, match=r"scoring\.preprocessing is for models that Convoy did not log"):
        load_package("models:/insects/1", facts=facts_of(ScoringConfig(preprocessing="0..1")))
    again = run("import_model", capsys, "--model", "models:/insects/1", *tracking)
    assert (again[0], "model of Convoy already" in again[2]) == (2, True)


@pytest.mark.parametrize("arguments", [(), ("--model", "none.h5"), ("--model", "models:/none/1")])
def test_a_model_that_is_not_there_is_one_line(arguments, store, capsys):
    status, line, err = run("import_model", capsys, *arguments, "--tracking.uri", store)
    assert (status, line, err.count("\n")) == (2, None, 1)


@pytest.mark.parametrize("flavor", ["keras", "tensorflow"])
def test_models_of_mlflow_are_scored_with_facts_and_imported(flavor, animals, capsys):
    network = classifier(None)
    if flavor == "keras":
        uri = log_foreign(animals, network)
    else:
        with mlflow.start_run() as active:
            mlflow.tensorflow.log_model(network, "model", pip_requirements=["keras"])
        uri = f"runs:/{active.info.run_id}/model"
    facts = ModelFacts(preprocessing="0..1", head="logits", classes=["a", "b", "c"])
    expected = softmax(network.predict(FLOAT / 255, verbose=0))
    package = load_package(uri, facts=facts)
    assert package.classes == ["a", "b", "c"]
    np.testing.assert_allclose(probabilities(package), expected, atol=1e-5)
    stated = ["--scoring.preprocessing", "0..1", "--scoring.head", "logits", "--tracking.uri", animals.store]
    status, line, err = run("import_model", capsys, "--model", uri, *stated)
    assert (status, line and line["kind"]) == (0, "keras"), err
    np.testing.assert_allclose(probabilities(load_package(line["model_uri"])), expected, atol=1e-5)
