"""A network as a model of MLflow: what is logged, what is found again, and what is refused."""

import json
import pickle
import pickletools
import shutil
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from convoy.errors import ModelError, TrackingError
from convoy.images import ArraySpec, Geometry, prepare
from convoy.inference.predictor import Predictor
from convoy.models.package import KERAS_FILE, TrainingStatistics
from convoy.tracking import logged_models, store
from convoy.tracking.package import load_package
from tests.conftest import encoded, noise
from tests.inference.packages import CLASSES, SMALL, network, truth
from tests.logged import PROFILE, log_signals, new_run


@pytest.fixture
def connected(animals):
    store.connect(animals.store)
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
    assert [(column.name, column.type.name) for column in info.signature.inputs] == [("image", "binary")]
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
        assert path.suffix in ("", ".py", ".yaml", ".json", ".txt", ".keras", ".css", ".properties"), path
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


def foreign(animals, model):
    """Log a network as anybody would, beside the other models; returns its URI."""
    run_id = new_run(animals.store)
    with mlflow.start_run(run_id=run_id):
        mlflow.keras.log_model(model, "model", pip_requirements=["keras"])
    return f"runs:/{run_id}/model"


def classifier(shape, last="softmax", classes=4):
    samples = keras.Input(shape)
    x = keras.layers.GlobalAveragePooling2D()(samples) if len(shape) == 3 else keras.layers.Flatten()(samples)
    return keras.Model(samples, keras.layers.Dense(classes, activation=last)(x))


def test_a_foreign_model_of_images_is_scored_as_keras_does(animals):
    model = classifier((8, 6, 3))
    package = load_package(foreign(animals, model))
    assert (package.classes, package.geometry) == (["0", "1", "2", "3"], Geometry(8, 6, 3, "stretch"))
    images = noise(20, 8, 6, 3)
    np.testing.assert_allclose(Predictor(package, 8).predict(images), model.predict(images, verbose=0), atol=1e-5)


def test_what_a_foreign_model_does_not_say_may_be_given(animals):
    uri = foreign(animals, classifier((None, None, 1)))
    with pytest.raises(ModelError, match=r"of shape \(None, None, 1\), of any size; say which"):
        load_package(uri)
    names, geometry = ["a", "b", "c", "d"], Geometry(5, 4, 1, "letterbox")
    package = load_package(uri, names, geometry)
    assert (package.classes, package.geometry, package.spec) == (names, geometry, geometry.spec)
    with pytest.raises(ModelError, match="tells 4 classes apart, and 2 names were given"):
        load_package(uri, ["a", "b"], geometry)
    with pytest.raises(ModelError, match=r"\(None, None, 1\), which images of \(5, 4, 3\) do not fit"):
        load_package(uri, names, Geometry(5, 4, 3, "letterbox"))


def test_a_foreign_model_of_something_else_takes_arrays(animals):
    package = load_package(foreign(animals, classifier((12,))))
    assert (package.geometry, package.spec) == (None, ArraySpec((12,), "float32"))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: classifier((8, 6, 3), None), "no probabilities of one class; expected .* softmax"),
        (lambda: classifier((8, 6, 3), "sigmoid", 1), r"gives \(None, 1\), expected \(None, K\)"),
        (lambda: _two_inputs(), "has 2 inputs; expected a network with one input"),
    ],
)
def test_a_foreign_model_that_is_no_classifier_is_refused(animals, model, said):
    with pytest.raises(ModelError, match=said):
        load_package(foreign(animals, model()))


def _two_inputs():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(keras.layers.Add()(inputs)))


# What would run code


@pytest.fixture
def tampered(animals, tmp_path):
    """A copy of a logged model, to be tampered with, and what logs it then to a new run and returns its URI."""
    shutil.copytree(animals.folder, tmp_path / "model")

    def log():
        run_id = new_run(animals.store)
        mlflow.MlflowClient().log_artifacts(run_id, str(tmp_path / "model"), "model")
        return f"runs:/{run_id}/model"

    return tmp_path / "model", log


def with_lambda(canary):
    """A network that writes a file when it is loaded or called."""
    samples = keras.Input((8, 6, 3), dtype="uint8")
    x = keras.layers.Lambda(lambda x: (open(canary, "w").close(), x)[1], output_shape=(8, 6, 3), name="evil")(samples)
    x = keras.layers.Flatten()(x)
    return keras.Model(samples, keras.layers.Dense(5, activation="softmax")(x))


def test_a_lambda_is_refused_and_does_not_run(tampered, tmp_path):
    folder, log = tampered
    canary = tmp_path / "canary"
    with_lambda(str(canary)).save(folder / KERAS_FILE)
    canary.unlink(missing_ok=True)
    keras.saving.load_model(folder / KERAS_FILE, compile=False, safe_mode=False)(noise(1, 8, 6, 3))
    assert canary.exists()  # it would run
    canary.unlink()
    with pytest.raises(ModelError, match="layer 'evil' holds Python code"):
        load_package(log())
    with pytest.raises(Exception, match="layer 'evil' holds Python code"):
        mlflow.pyfunc.load_model(str(folder))
    assert not canary.exists()


def test_a_lambda_deep_within_a_foreign_model_is_refused(animals, tmp_path):
    canary = tmp_path / "canary"
    model = keras.Sequential([keras.Input((8, 6, 3), dtype="uint8"), with_lambda(str(canary))])
    uri = foreign(animals, model)
    canary.unlink(missing_ok=True)
    with pytest.raises(ModelError, match="'evil' holds Python code"):
        load_package(uri)
    assert not canary.exists()


class _Bomb:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return open, (self.canary, "w")


def test_a_pickle_in_its_place_is_refused_and_does_not_run(tampered, tmp_path):
    folder, log = tampered
    canary = tmp_path / "canary"
    content = pickle.dumps(_Bomb(str(canary)))
    pickle.loads(content).close()
    canary.unlink()  # it would run
    (folder / KERAS_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=r"its network is a pickle; expected a \.keras file"):
        load_package(log())
    (folder / KERAS_FILE).unlink()
    (folder / "python_model.pkl").write_bytes(content)
    with pytest.raises(ModelError, match=r"holds no data/model\.keras; expected a model logged with mlflow\.keras"):
        load_package(log())
    assert not canary.exists()


def test_an_h5_file_in_its_place_is_refused_and_does_not_run(tampered, tmp_path):
    """Keras once ran the lambdas of such files even in safe mode."""
    folder, log = tampered
    canary = tmp_path / "canary"
    with_lambda(str(canary)).save(tmp_path / "model.h5")
    canary.unlink(missing_ok=True)
    shutil.copy(tmp_path / "model.h5", folder / KERAS_FILE)
    with pytest.raises(ModelError, match=r"its network is an \.h5 file; expected a \.keras file"):
        load_package(log())
    assert not canary.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no more", b"text"])
def test_what_is_no_keras_file_is_refused(tampered, content):
    folder, log = tampered
    (folder / KERAS_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=r"its network cannot be read .*; expected a \.keras file"):
        load_package(log())


@pytest.mark.parametrize("name", ["../canary", "/tmp/canary", "assets/../../canary", "..\\canary"])
def test_a_keras_file_whose_members_lead_out_of_it_is_refused(tampered, name):
    folder, log = tampered
    with zipfile.ZipFile(folder / KERAS_FILE, "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(ModelError, match="which leads out of it"):
        load_package(log())


@pytest.mark.parametrize("path", ["../other", "model/../../other", "%2e%2e/other", "x/%2E%2E/%2e%2e/other"])
def test_a_uri_that_leads_out_of_the_run_is_refused(tampered, path):
    _, log = tampered
    run = log().split("/")[1]
    with pytest.raises(TrackingError, match=r"is refused: '\.\.' leads out of the run"):
        load_package(f"runs:/{run}/{path}")


def test_an_mlmodel_file_that_leads_out_of_the_model_is_refused_and_its_code_does_not_run(tampered, tmp_path):
    folder, log = tampered
    canary = tmp_path / "canary"
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "loader.py").write_text(f"open({str(canary)!r}, 'w').close()")
    description = yaml.safe_load((folder / "MLmodel").read_text())
    description["flavors"]["python_function"] |= {"code": "../evil", "loader_module": "loader"}
    (folder / "MLmodel").write_text(yaml.safe_dump(description))
    with pytest.raises(ModelError, match=r"code of its flavour python_function is '\.\./evil', which leads out of it"):
        load_package(log())
    assert not canary.exists()


def test_code_that_a_model_brings_along_is_not_run_by_the_scorer(tampered, tmp_path):
    folder, log = tampered
    canary = tmp_path / "canary"
    (folder / "code" / "convoy" / "__init__.py").write_text(f"open({str(canary)!r}, 'w').close()")
    Predictor(load_package(log()), 4)
    assert not canary.exists()


def test_a_layer_that_nobody_knows_is_one_line(tampered):
    folder, log = tampered
    file = folder / KERAS_FILE
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config["config"]["layers"][1] |= {"class_name": "system", "module": "os", "registered_name": None}
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    with pytest.raises(ModelError, match="cannot be loaded in Keras' safe mode") as refused:
        Predictor(load_package(log()), 4)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_a_link_out_of_the_model_is_refused(tampered):
    folder, log = tampered
    uri = log()
    stored = Path(urlsplit(mlflow.MlflowClient().get_run(uri.split("/")[1]).info.artifact_uri).path) / "model"
    (stored / KERAS_FILE).unlink()
    (stored / KERAS_FILE).symlink_to(folder / KERAS_FILE)
    with pytest.raises(TrackingError, match="cannot be fetched"):
        load_package(uri)


def test_an_image_of_another_size_is_brought_to_the_models(animals):
    large = noise(64, 48, 3)
    model = mlflow.pyfunc.load_model(str(animals.folder))
    found = model.predict(pd.DataFrame({"image": [encoded(large)]}))
    expected = truth(prepare(large, SMALL)[None])
    assert found["prediction_index"][0] == expected.argmax()
    assert found["probability"][0] == pytest.approx(expected.max(), abs=1e-5)
