"""A run that is gone on with: one run in MLflow, every epoch's metrics once."""

import mlflow
import pytest

from tests.jobs.test_end_to_end import Place

pytestmark = pytest.mark.e2e
OPTIONS = ("--training.num_workers", "0", "--training.checkpoint.folder", "checkpoints", "--tracking.report", "false")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("resume"))


def test_a_run_is_made_longer(place):
    place.run("ingest")
    first, _ = place.run("train", *OPTIONS, "--training.epochs", "1")
    refused = place.start("train", *OPTIONS, "--training.epochs", "1", "--resume", first["run_id"])
    assert refused.returncode == 2
    assert refused.stderr.strip().splitlines()[-1].startswith(f"error: run {first['run_id']} has trained 1 epochs")
    second, told = place.run("train", *OPTIONS, "--training.epochs", "3", "--resume", first["run_id"])
    assert second["run_id"] == first["run_id"]
    assert "going on from the checkpoint in epoch 2, after step 0" in told
    client = mlflow.MlflowClient(place.uri, place.uri)
    [run] = client.search_runs([first["experiment_id"]])
    assert run.info.status == "FINISHED"
    assert run.data.tags["convoy.resumed"] == "1"
    for name in ("loss", "val_accuracy", "images_per_second"):
        assert [metric.step for metric in client.get_metric_history(run.info.run_id, name)] == [1, 2, 3]
    assert second["model_version"] == "2"
