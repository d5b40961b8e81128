"""Float images, stored as they are, through all four jobs as real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from convoy.dataset.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.e2e


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


def start(place: Path, job: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [
        *(sys.executable, str(ROOT / "jobs" / f"{job}.py"), "--config", str(ROOT / "conf" / "digits.yaml")),
        *("--source.kind", "arrays", "--source.path", f"{place}/digits.npz"),
        *("--dataset.root", f"{place}/datasets", "--tracking.uri", f"sqlite:///{place}/mlflow.db"),
        *("--training.num_workers", "0", "--training.epochs", "4", "--scoring.output", f"{place}/scores"),
        *arguments,
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYSPARK", "SPARK_"))}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=240)


def run(place: Path, job: str, *arguments: str) -> dict:
    done = start(place, job, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_float_images_are_ingested_trained_on_evaluated_and_scored(place):
    ingested = run(place, "ingest")
    manifest = Manifest.load(ingested["path"])
    assert (manifest.shape, manifest.dtype, manifest.image) == ((32, 32, 3), "float32", None)
    trained = run(place, "train")
    assert trained["val_accuracy"] > 0.8
    evaluated = run(place, "evaluate")
    assert evaluated["accuracy"] > 0.8
    scored = run(place, "score")
    assert (scored["rows"], scored["errors"]) == (manifest.rows()["test"], 0)
    rows = pq.read_table(place / "scores").to_pydict()
    right = [manifest.classes[label] == name for label, name in zip(rows["label"], rows["prediction"], strict=True)]
    assert np.mean(right) == pytest.approx(evaluated["accuracy"])

    mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
    mlflow.set_registry_uri(f"sqlite:///{place}/mlflow.db")  # another test may have set it
    signature = mlflow.models.get_model_info(trained["model_uri"]).signature.inputs.inputs[0]
    assert (signature.shape, signature.type) == ((-1, 32, 32, 3), np.dtype(np.float32))

    refused = start(place, "score", "--scoring.input", f"{place}/pictures")
    assert refused.returncode == 2
    (line,) = (line for line in refused.stderr.splitlines() if line.startswith("error"))
    assert line.startswith(f"error: {trained['model_uri']} takes arrays, float32 (32, 32, 3), and scoring.input")
