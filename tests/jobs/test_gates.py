"""Evaluation with gates, as jobs on the digits: who passes is promoted, who fails is told why with status 3."""

import importlib
import json
from pathlib import Path

import mlflow
import numpy as np
import pytest

from convoy.dataset.reading.examples import read_samples
from convoy.dataset.storage.manifest import Manifest
from convoy.evaluation.mcnemar import mcnemar
from convoy.tracking import connection
from convoy.tracking.model_io import log_model
from convoy.tracking.promotion import GATE_TAG
from tests.spark_support import write_images

ROOT = Path(__file__).resolve().parents[2]
NOT_WORSE = "not worse than models:/digits@champion"

pytestmark = [pytest.mark.spark, pytest.mark.long]


def means_network(samples, sharpness):
    """A network that takes the class whose mean image is nearest: right for nine digits of ten, and trained at once."""
    import keras

    images = samples.images.reshape(len(samples.images), -1) / 255.0
    means = np.stack([images[samples.labels == label].mean(axis=0) for label in range(10)])
    given = keras.Input((32, 32, 1), dtype="uint8")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(given))
    last = keras.layers.Dense(10, activation="softmax")
    network = keras.Model(given, last(flat))
    last.set_weights([sharpness * 2 * means.T, -sharpness * (means**2).sum(axis=1)])
    return network


class Place:
    """A tracking store with three versions of ``digits``: fair ones, but for version 2, which never says 3 or 8."""

    def __init__(self, folder, root):
        self.folder, self.root = folder, root
        self.uri = f"sqlite:///{folder}/mlflow.db"
        connection.connect(self.uri, create=True)
        self.client = mlflow.MlflowClient()
        (file,) = root.glob("*/*/manifest.json")
        self.manifest = Manifest.load(file.parent)
        rows = {split: np.arange(self.manifest.split(split).rows) for split in ("train", "test")}
        samples = {split: read_samples(file.parent, self.manifest, split, index) for split, index in rows.items()}
        self.test = samples["test"]
        self.networks, self.runs, self.models = {}, {}, {}
        for version, sharpness in (("1", 0.1), ("2", 0.1), ("3", 0.15)):
            network = means_network(samples["train"], sharpness)
            if version == "2":
                weights, bias = network.layers[-1].get_weights()
                bias[[3, 8]] -= 100
                network.layers[-1].set_weights([weights, bias])
            run_id = self.client.create_run(connection.experiment_id("digits")).info.run_id
            uri, given = log_model(network, self.manifest, self.test.images[:2], run_id, "digits")
            assert (uri, given) == (f"models:/digits/{version}", version)
            self.networks[version], self.runs[version] = network, run_id

    def right(self, version):
        return self.networks[version].predict(self.test.images, verbose=0).argmax(axis=1) == self.test.labels

    def aliases(self):
        return {alias: str(v) for alias, v in self.client.get_registered_model("digits").aliases.items()}

    def tags(self, version):
        run = self.client.get_run(self.runs[version]).data.tags.get(GATE_TAG)
        return run, self.client.get_model_version("digits", version).tags.get(GATE_TAG)


@pytest.fixture(scope="module")
def place(spark, ingested_digits, tmp_path_factory):
    return Place(tmp_path_factory.mktemp("gates"), ingested_digits)


@pytest.fixture
def evaluate(place, capsys):
    def run(model, *gates, options=()):
        """Returns (exit status, the JSON line or None, what people read)."""
        arguments = ["--config", str(ROOT / "conf" / "digits.yaml"), "--dataset.root", str(place.root)]
        arguments += ["--tracking.uri", place.uri, "--evaluation.model", model]
        arguments += ["--evaluation.gates", json.dumps(gates), *options] if gates else options
        status = importlib.import_module("jobs.evaluate").main(arguments)
        captured = capsys.readouterr()
        return status, json.loads(captured.out.splitlines()[-1]) if captured.out else None, captured.err

    return run


def test_from_the_first_champion_to_the_next(place, evaluate):
    status, result, text = evaluate("models:/digits/1")
    assert (status, place.aliases(), place.tags("1")) == (0, {}, (None, None))
    assert "passed" not in result

    status, result, text = evaluate("models:/digits/1", "accuracy >= 0.8", NOT_WORSE)
    assert (status, result["passed"], result["champion"], result["previous"]) == (0, True, "1", None)
    assert result["accuracy"] == pytest.approx(place.right("1").mean())
    assert f"gate passed: {NOT_WORSE}: that model does not exist yet" in text
    assert "all gates passed: champion of digits is version 1\n" in text
    assert place.tags("1") == ("passed", "passed")

    status, result, text = evaluate("models:/digits/2", "accuracy >= 0.5", "f1[3] >= 0.5", NOT_WORSE)
    assert (status, result["passed"]) == (3, False)
    assert [gate["passed"] for gate in result["gates"]] == [True, False, False]
    test = mcnemar(place.right("2"), place.right("1"))
    assert test.lost > 20
    assert (
        f"of {len(place.test.labels)} samples, only that model is right on {test.lost} and only this one on {test.won}:"
        in result["gates"][2]["found"]
    )
    reasons = f"f1[3] >= 0.5: it is 0; {NOT_WORSE}: {result['gates'][2]['found']}"
    assert text.endswith(f"failed: models:/digits/2 is not good enough: {reasons}\n")
    assert place.tags("2") == (f"failed: {reasons}",) * 2
    assert place.aliases() == {"champion": "1"}
    logged = mlflow.artifacts.load_dict(f"runs:/{place.runs['2']}/evaluation/test/gates.json")
    assert logged == result["gates"]

    status, result, text = evaluate("models:/digits/3", "macro_f1 > 0.5", NOT_WORSE, NOT_WORSE)
    assert (status, result["champion"], result["previous"]) == (0, "3", "1")
    assert place.aliases() == {"champion": "3", "previous": "1"}

    status, result, _ = evaluate("models:/digits@champion", NOT_WORSE)
    assert (status, result["champion"], result["previous"]) == (0, "3", "1")
    assert "only that model is right on 0 and only this one on 0: p = 1" in result["gates"][0]["found"]


def test_a_model_that_is_no_registered_version_moves_nothing(place, evaluate):
    before = place.aliases()
    status, result, text = evaluate(f"runs:/{place.runs['1']}/model", "accuracy >= 0.5")
    assert (status, result["passed"], "champion" in result) == (0, True, False)
    assert "no alias was set" in text
    assert place.aliases() == before


def test_everything_is_in_the_run(place, evaluate):
    _, result, text = evaluate("models:/digits/1", options=("--evaluation.bootstrap", "200"))
    folder = f"runs:/{place.runs['1']}/evaluation/test"
    logged = mlflow.artifacts.load_dict(f"{folder}/metrics.json")
    metrics = place.client.get_run(place.runs["1"]).data.metrics
    for name, value in logged["metrics"].items():
        assert value == metrics[f"test_{name}"] == result[name]
        low, high = logged["intervals"]["overall"][name]
        assert [low, high] == result["intervals"][name]
        assert f"{name} " in text
    assert logged["intervals"]["resamples"] == 200
    assert np.shape(logged["intervals"]["per_class"]["recall"]) == (2, 10)
    low, high = result["intervals"]["accuracy"]
    assert low < result["accuracy"] < high
    status, result, text = evaluate("models:/digits/1", options=("--evaluation.bootstrap", "0"))
    assert (status, "intervals" in result, "interval" in text) == (0, False, False)
    assert "intervals" not in mlflow.artifacts.load_dict(f"{folder}/metrics.json")


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("acuracy >= 0.9", "there is no metric 'acuracy'"),
        ("f1[seven] >= 0.9", "the dataset has no class 'seven'; it has 0, 1, 2"),
    ],
)
def test_a_gate_that_is_none_is_known_before_anything_is_looked_for(place, evaluate, gate, said):
    status, result, text = evaluate("models:/nowhere/1", gate, options=("--tracking.uri", "sqlite:////no/such.db"))
    assert (status, result) == (2, None)
    assert text.startswith("error: evaluation.gates: ")
    assert said in text
    assert text.count("\n") == 1


def test_a_model_to_compare_with_that_is_not_there_or_does_not_fit(place, evaluate, tmp_path, capsys):
    status, _, text = evaluate("models:/digits/1", "not worse than models:/digits/9")
    assert (status, "model 'digits' has no version 9" in text) == (2, True)
    write_images(tmp_path / "images" / "test", {"0": 2, "1": 2}, (32, 32))
    write_images(tmp_path / "images" / "train", {"0": 9, "1": 9}, (32, 32), seed=1)
    arguments = ["--config", str(ROOT / "conf" / "digits.yaml"), "--source.kind", "folder", "--source.path"]
    arguments += [str(tmp_path / "images"), "--dataset.root", str(tmp_path / "datasets")]
    assert importlib.import_module("jobs.ingest").main(arguments) == 0
    capsys.readouterr()
    options = ("--dataset.root", str(tmp_path / "datasets"))
    status, _, text = evaluate("models:/digits/1", "not worse than models:/digits/2", options=options)
    assert (status, "models:/digits/2 has the classes" in text) == (2, True)
