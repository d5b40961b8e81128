"""``mlflow.pyfunc.load_model(uri).predict(...)``: image files in, names and probabilities out."""

import base64
import json
import subprocess
import sys

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc.scoring_server import predictions_to_json

from tests.conftest import encoded, noise
from tests.inference.packages import CLASSES, truth
from tests.logged import log_signals

COLUMNS = ["prediction", "prediction_index", "probability", "error"]


@pytest.fixture(scope="module")
def model(animals):
    return mlflow.pyfunc.load_model(str(animals.folder))


@pytest.fixture(scope="module")
def images():
    return noise(300, 8, 6, 3)


def agree(frame, probabilities):
    assert list(frame.columns) == COLUMNS
    assert frame["error"].tolist() == [None] * len(frame)
    assert frame["prediction_index"].tolist() == probabilities.argmax(1).tolist()
    assert frame["prediction"].tolist() == [CLASSES[i] for i in probabilities.argmax(1)]
    np.testing.assert_allclose(frame["probability"].astype(float), probabilities.max(1), atol=1e-5)


def test_files_as_bytes_and_as_base64_are_classified_as_keras_does(model, images):
    files = [encoded(image) for image in images]
    agree(model.predict(pd.DataFrame({"image": files})), truth(images))
    texts = [base64.b64encode(file).decode() for file in files]
    broken_up = [base64.encodebytes(file).decode() for file in files]
    for column in (texts, broken_up):
        agree(model.predict(pd.DataFrame({"image": column})), truth(images))


def test_rows_keep_their_index_and_no_rows_give_none(model, images):
    rows = pd.DataFrame({"image": [encoded(image) for image in images[:2]]}, index=["x", "y"])
    assert model.predict(rows).index.tolist() == ["x", "y"]
    none = model.predict(pd.DataFrame({"image": np.array([], object)}))
    assert (len(none), list(none.columns)) == (0, COLUMNS)


def test_what_cannot_be_decoded_has_an_error_and_the_others_are_classified(model, images):
    good = encoded(images[0])
    values = [good, b"", b"no image", good[:-30], None, "no base64!", base64.b64encode(good).decode(), 7]
    found = model.predict(pd.DataFrame({"image": np.array(values, object)}))
    reasons = [error and error.split(":")[0] for error in found["error"]]
    assert reasons == [None, "empty", "not_an_image", "truncated", "empty", "not_an_image", None, "unsupported"]
    agree(found.iloc[[0, 6]], truth(images[[0, 0]]))
    bad = found.iloc[[1, 2, 3, 4, 5, 7]]
    assert bad[COLUMNS[:3]].isna().all(axis=None)


def test_an_answer_with_errors_is_valid_json(model, images, tmp_path):
    rows = pd.DataFrame({"image": [encoded(images[0]), b""]})
    with open(tmp_path / "answer.json", "w") as out:
        predictions_to_json(model.predict(rows), out)

    def no_constants(name):
        raise AssertionError(name)  # NaN

    good, bad = json.loads((tmp_path / "answer.json").read_text(), parse_constant=no_constants)["predictions"]
    assert good["probability"] > 0
    assert bad == {"prediction": None, "prediction_index": None, "probability": None, "error": bad["error"]}


def test_a_model_of_arrays_takes_arrays(animals):
    model = mlflow.pyfunc.load_model(str(log_signals(animals.store).folder))
    samples = np.random.default_rng(1).normal(size=(20, 12)).astype(np.float32)
    agree(model.predict(samples), truth(samples))
    samples[3, 5] = np.nan
    found = model.predict(samples)
    assert found["error"][3].startswith("not_finite")
    agree(found.drop(3), truth(np.delete(samples, 3, axis=0)))


_ALONE = r"""
import base64, importlib.metadata as metadata, json, re, sys

folder, png = sys.argv[1:3]
wanted, allowed = [line.split("==")[0] for line in open(f"{folder}/requirements.txt").read().split()], set()
while wanted:
    name = re.sub("[-_.]+", "-", re.match(r"[\w.-]+", wanted.pop())[0]).lower()
    if name not in allowed:
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        allowed.add(name)
        wanted += [need for need in needs if "extra ==" not in need]
homes = metadata.packages_distributions()
plain = lambda name: re.sub("[-_.]+", "-", name).lower()
refused = {top for top, names in homes.items() if not {plain(name) for name in names} & allowed} - {"pip", "setuptools"}
assert {"pyspark", "horovod", "petastorm"} <= refused, refused


class Refuse:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in refused - {"convoy"}:
            raise ImportError(f"{name} is not among the model's requirements")


sys.meta_path.insert(0, Refuse)
import mlflow, pandas

model = mlflow.pyfunc.load_model(folder)
found = model.predict(pandas.DataFrame({"image": [base64.b64decode(png)]}))
import convoy

print(json.dumps([convoy.__file__, found["prediction_index"].tolist(), sorted(refused & set(sys.modules))]))
"""


@pytest.mark.long
@pytest.mark.e2e
def test_the_models_own_requirements_and_source_are_enough(animals, images, tmp_path):
    """All packages that the requirements do not bring are refused to a process that knows no other Convoy."""
    png = base64.b64encode(encoded(images[0])).decode()
    command = [sys.executable, "-I", "-c", _ALONE, str(animals.folder), png]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    source, found, loaded = json.loads(done.stdout.splitlines()[-1])
    assert source == f"{animals.folder}/code/convoy/__init__.py"
    assert found == truth(images[:1]).argmax(1).tolist()
    assert set(loaded) <= {"convoy"}
