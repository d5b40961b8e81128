"""A run that is gone on with: one run in MLflow, every epoch's metrics once. It needs no ranks."""

import importlib
import json
from pathlib import Path

import mlflow
import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.spark, pytest.mark.e2e, pytest.mark.long]


@pytest.fixture
def train(spark, ingested_digits, tmp_path, monkeypatch, capsys):
    """Train in this process; returns (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    settings = [
        *("--config", str(ROOT / "conf" / "digits.yaml"), "--dataset.root", str(ingested_digits)),
        *("--tracking.uri", f"sqlite:///{tmp_path}/mlflow.db", "--tracking.report", "false"),
        *("--training.num_workers", "0", "--training.checkpoint.folder", "checkpoints"),
    ]

    def call(*arguments: str) -> tuple[int, str, str]:
        status = importlib.import_module("jobs.train").main([*settings, *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_a_run_is_made_longer(train, tmp_path):
    status, out, err = train("--training.epochs", "1")
    assert status == 0, err
    first = json.loads(out.splitlines()[-1])
    assert first["epochs"] == 1
    status, _, err = train("--training.epochs", "1", "--resume", first["run_id"])
    assert status == 2
    assert err.strip().splitlines()[-1].startswith(f"error: run {first['run_id']} has trained 1 epochs")
    status, out, told = train("--training.epochs", "3", "--resume", first["run_id"])
    assert status == 0, told
    second = json.loads(out.splitlines()[-1])
    assert second["run_id"] == first["run_id"]
    assert "resuming from the checkpoint in epoch 2, after step 0" in told
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = mlflow.MlflowClient(uri, uri)
    [run] = client.search_runs([first["experiment_id"]])
    assert run.info.status == "FINISHED"
    assert run.data.tags["convoy.resumed"] == "1"
    for name in ("loss", "val_accuracy", "images_per_second"):
        assert [metric.step for metric in client.get_metric_history(run.info.run_id, name)] == [1, 2, 3]
    assert second["model_version"] == "2"
    assert "report.html" not in {file.path for file in client.list_artifacts(run.info.run_id)}
    assert not [name for name in run.data.metrics if "gradient_norm" in name]
