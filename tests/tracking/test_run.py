"""What goes into a run, and what does not."""

import mlflow
import pytest

from convoy.tracking import connection
from convoy.tracking.redaction import without_secrets
from convoy.tracking.run import TrainingRun
from tests.logged import connect


@pytest.mark.parametrize(
    "name",
    [
        "spark.conf.spark.hadoop.fs.s3a.secret.key",
        "spark.conf.spark.hadoop.fs.s3a.access.key",
        "x.apiToken",
        "db.password",
    ],
)
def test_secrets_are_not_logged(name):
    assert without_secrets(name, "hunter2") == "(redacted)"


@pytest.mark.parametrize(
    ("name", "value", "logged"),
    [
        ("tracking.uri", "https://user:hunter2@mlflow.example:5000/x", "https://mlflow.example:5000/x"),
        ("tracking.uri", "sqlite:///work/mlflow.db", "sqlite:///work/mlflow.db"),
        ("dataset.name", "tokens@home", "tokens@home"),
    ],
)
def test_credentials_in_urls_are_not_logged_and_all_else_is(name, value, logged):
    assert without_secrets(name, value) == logged


def test_epochs_that_are_repeated_are_logged_once_also_by_another_driver(tmp_path):
    connect(tmp_path)
    client = mlflow.MlflowClient()
    experiment = connection.experiment_id("epochs")
    run_id = client.create_run(experiment).info.run_id

    def history(name):
        return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, name)]

    first = TrainingRun(run_id, experiment)
    for epoch in (0, 1, 1):
        first.log_epoch(epoch, {"loss": 1.0 / (epoch + 1), "images_per_second": 100.0})
    first.flush()
    assert history("loss") == [(1, 1.0), (2, 0.5)]

    second = TrainingRun(run_id, experiment)
    second.remember(client.get_metric_history(run_id, name) for name in ("loss", "images_per_second"))
    for epoch in (1, 2):
        second.log_epoch(epoch, {"loss": 1.0 / (epoch + 1), "images_per_second": 90.0, "val_loss": 2.0})
    first.log_health(0, {"dead_units/a": 0.25})
    first.flush()
    second.remember([client.get_metric_history(run_id, "system/dead_units_a")])
    for epoch in (0, 1):
        second.log_health(epoch, {"dead_units/a": 0.5})
    assert second.health == {0: {"dead_units/a": 0.25}, 1: {"dead_units/a": 0.5}}
    second.flush()
    assert history("system/dead_units_a") == [(1, 0.25), (2, 0.5)]
    assert history("loss") == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert history("images_per_second") == [(1, 100.0), (2, 100.0), (3, 90.0)]
    assert history("val_loss") == [(2, 2.0), (3, 2.0)]
    assert [second.history[epoch]["loss"] for epoch in range(3)] == [1.0, 0.5, pytest.approx(1 / 3)]


def test_what_the_network_is_becomes_two_artifacts(tmp_path):
    connect(tmp_path)
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("network", f"{tmp_path}/artifacts")
    run = TrainingRun(client.create_run(experiment).info.run_id, experiment)
    run.log_network("32x32x3 -> 10", None)
    found = {path.name: path for path in tmp_path.glob("artifacts/*/artifacts/model/*")}
    assert {name: path.read_text() for name, path in found.items()} == {"description.txt": "32x32x3 -> 10"}
    (tmp_path / "network.png").write_bytes(b"picture")
    run.log_network("32x32x3 -> 10", tmp_path / "network.png")
    found = {path.name: path for path in tmp_path.glob("artifacts/*/artifacts/model/*")}
    assert found.keys() == {"description.txt", "network.png"}
    assert found["network.png"].read_bytes() == b"picture"
