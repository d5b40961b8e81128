"""Jobs that start from given weights, and the one that looks for a learning rate."""

import importlib
import json
import pickle
import shutil
from pathlib import Path

import keras
import mlflow
import numpy as np
import pytest
from sklearn.datasets import load_digits

from convoy.config import ModelConfig
from convoy.dataset.storage.manifest import Manifest
from convoy.models.builder import build
from convoy.training.network import untrained

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.spark, pytest.mark.e2e, pytest.mark.long]


class Place:
    """A folder in which jobs run, in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def call(self, job: str, *arguments: str) -> int:
        config = ["--config", str(ROOT / "conf" / "digits.yaml"), "--training.num_workers", "0"]
        config += ["--dataset.root", f"{self.folder}/datasets", "--tracking.report", "false"]
        return importlib.import_module(f"jobs.{job}").main([*config, *arguments])


@pytest.fixture(scope="module")
def place(spark, ingested_digits, tmp_path_factory):
    """The digits with a registered model of four epochs; and 0 to 4 of them as another dataset, ``five``."""
    folder = tmp_path_factory.mktemp("transfer")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = Place(folder)
        digits = load_digits()
        few = digits.target < 5
        images = np.kron(digits.images[few] * (255 / 16), np.ones((1, 4, 4))).astype(np.uint8)[..., None]
        np.savez(folder / "five.npz", images=images, labels=digits.target[few])
        shutil.copytree(ingested_digits, folder / "datasets")
        five = ("--dataset.name", "five", "--source.kind", "arrays", "--source.path", f"{folder}/five.npz")
        assert made.call("ingest", *five, "--dataset.validation_fraction", "0.3") == 0
        assert made.call("train", "--training.epochs", "4") == 0
        yield made


@pytest.fixture
def run(place, monkeypatch, capsys):
    """Run a job to its end; returns (its JSON line, its stderr)."""
    monkeypatch.chdir(place.folder)
    capsys.readouterr()

    def call(job, *arguments):
        status = place.call(job, *arguments)
        said = capsys.readouterr()
        assert status == 0, said.err
        return json.loads(said.out.splitlines()[-1]), said.err

    return call


@pytest.fixture
def refused(place, monkeypatch, capsys):
    """Run a job that is refused; returns its one line."""
    monkeypatch.chdir(place.folder)
    capsys.readouterr()

    def call(*arguments):
        status = place.call("train", *arguments)
        said = capsys.readouterr()
        errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
        assert (status, len(errors), said.out) == (2, 1, ""), said.err
        assert "Traceback" not in said.err
        return errors[0]

    return call


FIVE = ("--dataset.name", "five", "--tracking.registered_model", "five", "--training.epochs", "1")


def network_of(uri):
    return mlflow.keras.load_model(uri)


def test_a_registered_model_is_the_start_of_one_with_other_classes(run):
    anew, _ = run("train", *FIVE)
    from_digits = ("--model.initial_weights", "models:/digits/1", "--model.freeze_to", "s4")
    result, said = run("train", *FIVE, *from_digits)
    assert "model.initial_weights models:/digits/1: weights of 4 layers; new: output" in said
    assert result["val_accuracy"] > max(0.95, anew["val_accuracy"])
    given, trained = network_of("models:/digits/1"), network_of(result["model_uri"])
    assert trained.output_shape == (None, 5)
    for name in ("c1", "c3", "c5", "f6"):
        pairs = zip(given.get_layer(name).get_weights(), trained.get_layer(name).get_weights(), strict=True)
        assert {np.array_equal(a, b) for a, b in pairs} == {name in ("c1", "c3")}, name
    assert not list(Path("work/checkpoints").glob("*/.initial-weights*"))


def test_a_run_and_an_alias_are_starts_as_well(run):
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("digits", "champion", "1")
    run_id = client.get_model_version("digits", "1").run_id
    for source in ("models:/digits@champion", f"runs:/{run_id}/model"):
        result, said = run("train", "--training.epochs", "1", "--model.initial_weights", source)
        assert "weights of 5 layers\n" in said  # the same classes: the last one, too
        assert result["val_accuracy"] > 0.93


@pytest.fixture
def files(place, monkeypatch):
    """Files of weights, good and bad."""
    monkeypatch.chdir(place.folder)
    [manifest] = place.folder.glob("datasets/digits/*/manifest.json")
    lenet = untrained(build, ModelConfig(), Manifest.load(manifest.parent))
    lenet.save("lenet.keras")
    image = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(keras.layers.Conv2D(6, 3, name="c1")(image))
    keras.Model(image, keras.layers.Dense(10, name="output")(x)).save_weights("other.weights.h5")
    Path("pickle.h5").write_bytes(pickle.dumps({"c1": [1.0]}))
    Path("torn.keras").write_bytes(Path("lenet.keras").read_bytes()[:5000])


def test_a_file_is_a_start(files, run):
    _, said = run("train", "--training.epochs", "1", "--model.initial_weights", "lenet.keras")
    assert "model.initial_weights lenet.keras: weights of 5 layers" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("initial_weights", "lenet.kears"), "'lenet.kears' is not a file, and not a model URI either"),
        (("initial_weights", "pickle.h5"), "'pickle.h5' cannot be read"),
        (("initial_weights", "torn.keras"), "'torn.keras' cannot be read"),
        (("initial_weights", "other.weights.h5"), "layer 'c1' has weights of 5x5x1x6, 6, but 3x3x1x6, 6 are given"),
        (("initial_weights", "models:/digits/77"), "model 'digits' has no version 77"),
        (("initial_weights", "models:/digit/1"), "no model 'digit' is registered"),
        (("initial_weights", "runs:/0123456789abcdef/model"), "there is no run '0123456789abcdef'"),
        (("freeze_to", "c9"), "model.freeze_to is 'c9'; expected a layer of the network: image, normalise"),
        (("freeze_to", "output"), "model.freeze_to 'output' leaves nothing to train"),
    ],
)
def test_weights_and_layers_that_do_not_fit_are_one_line(files, refused, place, arguments, said):
    before = len(mlflow.search_runs(search_all_experiments=True))
    name, value = arguments
    assert said in refused(f"--model.{name}", value)
    assert len(mlflow.search_runs(search_all_experiments=True)) == before


@pytest.mark.parametrize("ranks", ["0", pytest.param("2", marks=pytest.mark.long)])
def test_the_finder_proposes_a_rate_that_trains_and_registers_nothing(run, ranks):
    client = mlflow.MlflowClient()
    versions = len(client.search_model_versions("name = 'digits'"))
    result, said = run("train", "--training.find_learning_rate", "true", "--training.num_workers", ranks)
    rate = result["suggested_learning_rate"]
    assert 1e-4 < rate < 1e-2  # LeNet-5 with Adam
    assert f"suggested: --training.optimizer.learning_rate {rate:g}" in said
    assert "model_uri" not in result
    assert len(client.search_model_versions("name = 'digits'")) == versions
    found = client.get_run(result["run_id"])
    assert found.info.status == "FINISHED"
    assert found.data.tags["convoy.purpose"].startswith("learning-rate finder")
    assert found.data.metrics["suggested_learning_rate"] == rate
    rates = [metric.value for metric in client.get_metric_history(result["run_id"], "finder_learning_rate")]
    assert len(rates) == result["updates"] <= 100
    assert rates == sorted(rates)
    picture = mlflow.artifacts.download_artifacts(run_id=result["run_id"], artifact_path="learning_rate_finder.png")
    assert Path(picture).stat().st_size > 10_000
    good, _ = run("train", "--training.epochs", "2", "--training.optimizer.learning_rate", str(rate))
    slow, _ = run("train", "--training.epochs", "2", "--training.optimizer.learning_rate", "1e-5")
    assert good["val_accuracy"] > slow["val_accuracy"] + 0.3


def test_a_sweep_does_not_go_on_with_a_run(refused):
    line = refused("--training.find_learning_rate", "true", "--resume", "0123456789abcdef")
    assert "training.find_learning_rate is True; expected false with training.resume" in line
