"""Models that would run code of their own, or lead out of their folder: they are refused, and nothing runs."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import keras
import mlflow
import pytest
import yaml

from convoy.errors import ModelError, TrackingError
from convoy.inference.predictor import Predictor
from convoy.models.package import KERAS_FILE
from convoy.tracking.model_io import load_package
from tests.conftest import noise
from tests.logged import log_foreign, new_run


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
    uri = log_foreign(animals, model)
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
    with pytest.raises(ModelError, match="leads out of it"):
        load_package(log())


@pytest.mark.parametrize("path", ["../other", "model/../../other", "%2e%2e/other", "x/%2E%2E/%2e%2e/other"])
def test_a_uri_that_leads_out_of_the_run_is_refused(tampered, path):
    _, log = tampered
    run = log().split("/")[1]
    with pytest.raises(TrackingError, match=r"is rejected: '\.\.' leads out of the run"):
        load_package(f"runs:/{run}/{path}")


def test_an_mlmodel_file_that_leads_out_of_the_model_is_refused_and_its_code_does_not_run(tampered, tmp_path):
    folder, log = tampered
    canary = tmp_path / "canary"
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "loader.py").write_text(f"open({str(canary)!r}, 'w').close()")
    description = yaml.safe_load((folder / "MLmodel").read_text())
    description["flavors"]["python_function"] |= {"code": "../evil", "loader_module": "loader"}
    (folder / "MLmodel").write_text(yaml.safe_dump(description))
    with pytest.raises(ModelError, match=r"code of its flavour python_function is '\.\./evil', outside its folder"):
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
    with pytest.raises(TrackingError, match="cannot be downloaded"):
        load_package(uri)
