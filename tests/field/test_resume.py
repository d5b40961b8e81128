"""A run is continued by the short id that is printed; one whose driver was killed is shown as lost, and closed then."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from convoy.config import Config, TrackingConfig, TrainingConfig
from convoy.errors import TrackingError
from convoy.runs import commands
from convoy.tracking import connection, liveness
from convoy.tracking.lifecycle import training_run
from convoy.workflows.train import _resumed
from tests.field.inputs import resume as inputs
from tests.jobs.conftest import ingested_digits  # noqa: F401 - a fixture
from tests.logged import connect, manifest

ROOT = Path(__file__).resolve().parents[2]


def resuming(uri, run):
    config = Config()
    training = TrainingConfig(resume=run, checkpoint=replace(config.training.checkpoint, folder="none"))
    return replace(config, tracking=TrackingConfig(uri, "lost"), training=training)


def listed(uri):
    return {row["run"]: row["status"] for row in json.loads(commands.list_runs(uri=uri, format="json"))["runs"]}


def test_the_beginning_of_an_id_names_the_run(tmp_path):
    uri = connect(tmp_path)
    client = mlflow.MlflowClient()
    for name in ("one", "two", "three"):
        client.create_run(connection.experiment_id("lost"), run_name=name)
        time.sleep(0.01)
    ids = "aaaa1" + 27 * "0", "aaaa2" + 27 * "0", "b" + 31 * "0"
    inputs.with_ids(uri, *ids)
    for given, full in (("aaaa1", ids[0]), (ids[1], ids[1]), ("b", ids[2])):
        assert _resumed(resuming(uri, given)).training.resume == full
    with pytest.raises(TrackingError) as refused:
        _resumed(resuming(uri, "aaaa"))
    assert str(refused.value).startswith("training.resume: 'aaaa' matches several runs")
    assert "aaaa10000000 (one)" in str(refused.value)
    assert "aaaa20000000 (two)" in str(refused.value)
    with pytest.raises(TrackingError, match=r"training\.resume: there is no run 'cccc'"):
        _resumed(resuming(uri, "cccc"))


def test_the_id_that_the_list_prints_is_enough(tmp_path, capsys):
    uri = connect(tmp_path)
    run_id = mlflow.MlflowClient().create_run(connection.experiment_id("lost")).info.run_id
    commands.list_runs(uri=uri)
    [short] = [line.split()[0] for line in capsys.readouterr().err.splitlines() if line.startswith(run_id[:4])]
    assert len(short) < len(run_id)
    assert _resumed(resuming(uri, short)).training.resume == run_id


def test_a_training_prints_its_full_id_and_its_place_at_the_start(tmp_path, capsys):
    uri = connect(tmp_path)
    config = replace(Config(), tracking=TrackingConfig(uri, "lost"))
    with training_run(config, tmp_path, manifest(), "app") as run:
        assert f"run {run.run_id} in experiment 'lost' at {uri}" in capsys.readouterr().err
        assert listed(uri) == {run.run_id: "RUNNING"}
    assert listed(uri) == {run.run_id: "FINISHED"}


def test_a_run_of_a_killed_driver_is_lost_until_it_is_resumed(tmp_path, capsys):
    uri = connect(tmp_path)
    lost = inputs.killed_driver(uri)
    assert listed(uri) == {lost: "LOST"}
    assert commands.show_run(lost[:8], uri=uri)["status"] == "LOST"
    assert f"--resume {lost}" in capsys.readouterr().err
    with training_run(resuming(uri, lost), tmp_path, manifest(), "app") as run:
        assert run.run_id == lost
        assert listed(uri) == {lost: "RUNNING"}
    assert listed(uri) == {lost: "FINISHED"}


def test_a_run_that_is_still_trained_is_not_resumed(tmp_path):
    uri = connect(tmp_path)
    run_id, process = inputs.running_driver(uri)
    try:
        assert listed(uri) == {run_id: "RUNNING"}
        with (
            pytest.raises(TrackingError, match=f"run {run_id} is still trained by process {process.pid}"),
            training_run(resuming(uri, run_id), tmp_path, manifest(), "app"),
        ):
            pass
    finally:
        process.kill()
        process.communicate()
    assert listed(uri) == {run_id: "LOST"}


def test_a_driver_on_another_machine_is_lost_when_it_is_silent(tmp_path):
    uri = connect(tmp_path)
    silent, alive = inputs.on_another_machine(uri, 3600), inputs.on_another_machine(uri, 30)
    assert listed(uri) == {silent: "LOST", alive: "RUNNING"}


def test_runs_of_other_tools_and_older_versions_are_shown_as_they_are(tmp_path):
    uri = connect(tmp_path)
    client = mlflow.MlflowClient()
    other = client.create_run(connection.experiment_id("lost")).info.run_id
    damaged = client.create_run(connection.experiment_id("lost"), tags={liveness.DRIVER: "?"}).info.run_id
    assert listed(uri) == {other: "RUNNING", damaged: "RUNNING"}


def test_the_driver_shows_that_it_is_there(tmp_path, monkeypatch):
    connect(tmp_path)
    client = mlflow.MlflowClient()
    run_id = client.create_run(connection.experiment_id("lost")).info.run_id
    monkeypatch.setattr(liveness, "_BEAT_SECONDS", 0.05)
    with liveness.heartbeat(client, run_id):
        deadline = time.monotonic() + 60
        while liveness.HEARTBEAT not in client.get_run(run_id).data.tags and time.monotonic() < deadline:
            time.sleep(0.05)
    assert abs(int(client.get_run(run_id).data.tags[liveness.HEARTBEAT]) / 1000 - time.time()) < 60


@pytest.mark.spark
@pytest.mark.e2e
@pytest.mark.long
def test_a_killed_training_is_continued_by_its_short_id(
    spark,
    ingested_digits,  # noqa: F811
    tmp_path,
    monkeypatch,
    capsys,
):
    settings = [
        *("--config", str(ROOT / "conf" / "digits.yaml"), "--dataset.root", str(ingested_digits)),
        *("--tracking.uri", f"sqlite:///{tmp_path}/mlflow.db", "--tracking.report", "false"),
        *("--training.num_workers", "0", "--training.checkpoint.folder", str(tmp_path / "checkpoints")),
    ]
    uri, environment = f"sqlite:///{tmp_path}/mlflow.db", {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
    command = [sys.executable, "-m", "jobs.train", *settings, "--training.epochs", "500"]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            command, stderr=log, stdout=log, cwd=tmp_path, env=environment, start_new_session=True
        )
    deadline = time.monotonic() + 300
    while "epoch 2/500" not in (tmp_path / "log").read_text():
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    [(run_id, status)] = listed(uri).items()
    assert status == "LOST"
    monkeypatch.chdir(tmp_path)
    done = len(list((tmp_path / "checkpoints" / run_id).iterdir()))
    assert done
    status = importlib.import_module("jobs.train").main([*settings, "--training.epochs", "1000", "--resume", "?"])
    assert status == 2
    capsys.readouterr()
    last = json.loads(next((tmp_path / "checkpoints" / run_id).glob("step-*/state.json")).read_text())["state"]["epoch"]
    more = str(last + 3)
    status = importlib.import_module("jobs.train").main([*settings, "--training.epochs", more, "--resume", run_id[:8]])
    said = capsys.readouterr()
    assert status == 0, said.err
    assert json.loads(said.out)["run_id"] == run_id
    assert listed(uri) == {run_id: "FINISHED"}
