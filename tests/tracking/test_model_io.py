"""A network as a model of MLflow: what is logged, and what is found again."""

import pickle
import pickletools
import zipfile

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest

from convoy.errors import ModelError
from convoy.images import ArraySpec, Geometry, prepare
from convoy.inference.predictor import Predictor
from convoy.models.package import KERAS_FILE, TrainingStatistics
from convoy.tracking import connection, logged_models
from convoy.tracking.model_io import load_package
from tests.conftest import encoded, noise
from tests.inference.packages import CLASSES, SMALL, network, truth
from tests.logged import PROFILE, log_foreign, log_signals, new_run


@pytest.fixture
def connected(animals):
    connection.connect(animals.store)
    return animals


def test_what_was_logged_is_found_again(connected):
    package = load_package(connected.uri)
    assert (package.uri, package.geometry, package.spec) == (connected.uri, SMALL, SMALL.spec)
    assert package.classes == CLASSES
    assert package.training == TrainingStatistics([600] * len(CLASSES), PROFILE)
    if logged_models.HAVE_IDS:
        assert mlflow.get_logged_model(package.model_id).source_run_id == package.run_id
    assert mlflow.MlflowClient().get_run(package.run_id).info.status == "FINISHED"
    images = noise(9, 8, 6, 3)
    np.testing.assert_allclose(Predictor(package, 4).predict(images), truth(images), atol=1e-5)


def test_keras_own_flavour_opens_it_too(connected):
    found = mlflow.keras.load_model(connected.uri)
    images = noise(9, 8, 6, 3)
    np.testing.assert_allclose(found.predict(images, verbose=0), truth(images), atol=1e-5)


def test_signature_and_example_say_what_goes_in_and_what_comes_out(connected):
    info = mlflow.models.get_model_info(connected.uri)
    assert [(column.name, column.type.name) for column in info.signature.inputs] == [("image", "string")]
    assert info.signature.outputs.input_names() == ["prediction", "prediction_index", "probability", "error"]
    assert set(info.flavors) == {"keras", "python_function"}
    model = mlflow.pyfunc.load_model(str(connected.folder))
    example = model.metadata.load_input_example(str(connected.folder))
    assert len(example) == 3
    assert model.predict(example)["error"].tolist() == [None] * 3


def test_a_model_of_arrays_is_described_as_one(animals):
    logged = log_signals(animals.store)
    package = load_package(logged.uri)
    assert (package.geometry, package.spec) == (None, ArraySpec((12,), "float32"))
    assert package.training == TrainingStatistics([600] * len(CLASSES), None)
    (tensor,) = mlflow.models.get_model_info(logged.uri).signature.inputs
    assert (tensor.shape, tensor.type) == ((-1, 12), np.float32)
    model = mlflow.pyfunc.load_model(str(logged.folder))
    assert len(model.predict(model.metadata.load_input_example(str(logged.folder)))) == 3


def test_there_is_no_pickle_in_it(animals):
    # Other tests import the copy of the source, which leaves compiled files beside it.
    files = [path for path in animals.folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    assert {path.name for path in files} >= {"MLmodel", "model.keras", "requirements.txt", "pyfunc.py"}
    for path in files:
        assert path.suffix in ("", ".py", ".yaml", ".json", ".txt", ".keras", ".css", ".html", ".properties"), path
        assert not _is_pickle(path.read_bytes()), path
    with zipfile.ZipFile(animals.folder / KERAS_FILE) as archive:
        for name in archive.namelist():
            assert not _is_pickle(archive.read(name)), name
    assert "pickle" not in (animals.folder / "MLmodel").read_text()
    assert "pickle" not in (animals.folder / "requirements.txt").read_text()
    assert all(_is_pickle(pickle.dumps([1], protocol)) for protocol in range(6))


def _is_pickle(content):
    """Whether all of it can be read as a pickle's instructions."""
    try:
        return sum(1 for _ in pickletools.genops(content)) > 1
    except Exception:
        return False


def test_models_logged_by_earlier_versions_are_loaded(animals):
    """They had Keras' flavour alone."""
    run_id = new_run(animals.store)
    metadata = {
        "convoy": {
            "classes": CLASSES,
            "geometry": {"height": 8, "width": 6, "channels": 3, "resize": "stretch", "interpolation": "bilinear"},
            "shape": [8, 6, 3],
            "dtype": "uint8",
            "dataset": {"name": "animals", "version": "1", "fingerprint": "f"},
        }
    }
    with mlflow.start_run(run_id=run_id):
        mlflow.keras.log_model(network(), "model", pip_requirements=["keras"], metadata=metadata)
    package = load_package(f"runs:/{run_id}/model")
    assert (package.classes, package.geometry, package.run_id) == (CLASSES, SMALL, run_id)
    assert package.training is None


# Networks that nobody here trained


def classifier(shape, last="softmax", classes=4):
    samples = keras.Input(shape)
    x = keras.layers.GlobalAveragePooling2D()(samples) if len(shape) == 3 else keras.layers.Flatten()(samples)
    return keras.Model(samples, keras.layers.Dense(classes, activation=last)(x))


def test_a_foreign_model_of_images_is_scored_as_keras_does(animals):
    model = classifier((8, 6, 3))
    package = load_package(log_foreign(animals, model))
    assert (package.classes, package.geometry) == (["0", "1", "2", "3"], Geometry(8, 6, 3, "stretch"))
    images = noise(20, 8, 6, 3)
    np.testing.assert_allclose(Predictor(package, 8).predict(images), model.predict(images, verbose=0), atol=1e-5)


def test_what_a_foreign_model_does_not_say_may_be_given(animals):
    uri = log_foreign(animals, classifier((None, None, 1)))
    with pytest.raises(ModelError, match=r"of shape \(None, None, 1\), of any size; specify the size"):
        load_package(uri)
    names, geometry = ["a", "b", "c", "d"], Geometry(5, 4, 1, "letterbox")
    package = load_package(uri, names, geometry)
    assert (package.classes, package.geometry, package.spec) == (names, geometry, geometry.spec)
    with pytest.raises(ModelError, match="has 4 classes, but 2 names were given"):
        load_package(uri, ["a", "b"], geometry)
    with pytest.raises(ModelError, match=r"\(None, None, 1\), which images of \(5, 4, 3\) do not fit"):
        load_package(uri, names, Geometry(5, 4, 3, "letterbox"))


def test_a_foreign_model_of_something_else_takes_arrays(animals):
    package = load_package(log_foreign(animals, classifier((12,))))
    assert (package.geometry, package.spec) == (None, ArraySpec((12,), "float32"))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: classifier((8, 6, 3), None), "not class probabilities; expected .* softmax"),
        (lambda: classifier((8, 6, 3), "sigmoid", 4), "4 values of a sigmoid each, which are several labels"),
        (lambda: _two_inputs(), "has 2 inputs; expected a network with one input"),
    ],
)
def test_a_foreign_model_that_is_no_classifier_is_refused(animals, model, said):
    with pytest.raises(ModelError, match=said):
        load_package(log_foreign(animals, model()))


def _two_inputs():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(keras.layers.Add()(inputs)))


def test_an_image_of_another_size_is_brought_to_the_models(animals):
    large = noise(64, 48, 3)
    model = mlflow.pyfunc.load_model(str(animals.folder))
    found = model.predict(pd.DataFrame({"image": [encoded(large)]}))
    expected = truth(prepare(large, SMALL)[None])
    assert found["prediction_index"][0] == expected.argmax()
    assert found["probability"][0] == pytest.approx(expected.max(), abs=1e-5)
