"""Float images, stored as they are, through all four jobs."""

import importlib
import json
from pathlib import Path

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from convoy.dataset.storage.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.spark, pytest.mark.e2e, pytest.mark.long]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with 900 digits of 32x32 in three channels, of which one is very small; float32."""
    folder = tmp_path_factory.mktemp("arrays")
    digits = load_digits()
    grey = np.kron(digits.images[:900] / 16, np.ones((1, 4, 4)))
    images = np.stack([grey, 100 - grey, 1e-12 * grey], axis=-1).astype(np.float32)
    np.savez(folder / "digits.npz", images=images, labels=digits.target[:900])
    (folder / "pictures").mkdir()
    (folder / "pictures" / "1.png").write_bytes(b"no array")
    return folder


@pytest.fixture
def start(spark, place, monkeypatch, capsys):
    """Run a job in this process; returns (status, stdout, stderr)."""
    monkeypatch.chdir(place)
    settings = [
        *("--config", str(ROOT / "conf" / "digits.yaml")),
        *("--source.kind", "arrays", "--source.path", f"{place}/digits.npz"),
        *("--dataset.root", f"{place}/datasets", "--tracking.uri", f"sqlite:///{place}/mlflow.db"),
        *("--training.num_workers", "0", "--training.epochs", "4", "--scoring.output", f"{place}/scores"),
        *("--tracking.report", "false"),
    ]

    def call(job: str, *arguments: str) -> tuple[int, str, str]:
        status = importlib.import_module(f"jobs.{job}").main([*settings, *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def run(start):
    """Run a job to its end; returns its JSON line."""

    def call(job: str) -> dict:
        status, out, err = start(job)
        assert status == 0, err
        return json.loads(out.splitlines()[-1])

    return call


def test_float_images_are_ingested_trained_on_evaluated_and_scored(place, start, run):
    ingested = run("ingest")
    manifest = Manifest.load(ingested["path"])
    assert (manifest.shape, manifest.dtype, manifest.image) == ((32, 32, 3), "float32", None)
    trained = run("train")
    assert trained["val_accuracy"] > 0.8
    evaluated = run("evaluate")
    assert evaluated["accuracy"] > 0.8
    scored = run("score")
    assert (scored["rows"], scored["errors"]) == (manifest.rows()["test"], 0)
    rows = pq.read_table(place / "scores").to_pydict()
    right = [manifest.classes[label] == name for label, name in zip(rows["label"], rows["prediction"], strict=True)]
    assert np.mean(right) == pytest.approx(evaluated["accuracy"])

    mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
    mlflow.set_registry_uri(f"sqlite:///{place}/mlflow.db")  # another test may have set it
    signature = mlflow.models.get_model_info(trained["model_uri"]).signature.inputs.inputs[0]
    assert (signature.shape, signature.type) == ((-1, 32, 32, 3), np.dtype(np.float32))

    status, _, said = start("score", "--scoring.input", f"{place}/pictures")
    assert status == 2
    (line,) = (line for line in said.splitlines() if line.startswith("error"))
    assert line.startswith(f"error: {trained['model_uri']} takes arrays, float32 (32, 32, 3), but scoring.input")
