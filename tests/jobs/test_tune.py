"""Studies from one command: two trials at a time on Spark tasks, one at a time, and one whose driver was killed."""

import csv
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import psutil
import pytest
import yaml
from PIL import Image

from convoy.training.distributed.spark_task import OnTask
from convoy.training.events import Epoch, Started
from convoy.workflows import tune as workflow

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / "conf" / "digits.yaml")
RATE = "training.optimizer.learning_rate"
EPOCHS = '{"training.epochs": {"low": 1, "high": 2}}'
PICTURES = {"history.png", "slices.png", "parallel_coordinates.png"}

pytestmark = [pytest.mark.spark, pytest.mark.e2e, pytest.mark.long]


class Place:
    """A study's own store and storage, beside datasets that others use too."""

    def __init__(self, folder, datasets):
        self.folder, self.uri = folder, f"sqlite:///{folder}/mlflow.db"
        self.arguments = [
            *("--config", CONFIG, "--dataset.root", str(datasets), "--tracking.uri", self.uri),
            *(
                "--tune.storage",
                f"sqlite:///{folder}/studies.db",
                "--training.checkpoint.folder",
                f"{folder}/checkpoints",
            ),
            *("--training.optimizer.name", "sgd", "--tune.sampler", "grid"),
        ]

    def run(self, *arguments):
        """Run the job here, in this process' session: (exit status, JSON line, stderr)."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout", out)
            patch.setattr("sys.stderr", err)
            status = importlib.import_module("jobs.tune").main([*self.arguments, *arguments])
        return status, json.loads(out.getvalue().splitlines()[-1]) if out.getvalue() else None, err.getvalue()

    def client(self):
        mlflow.set_tracking_uri(self.uri)
        return mlflow.MlflowClient()

    def children(self, parent):
        client = self.client()
        query = f"tags.`mlflow.parentRunId` = '{parent}'"
        experiment = client.get_run(parent).info.experiment_id
        return client.search_runs([experiment], query, order_by=["attributes.start_time ASC"])


@pytest.fixture
def place(spark, tmp_path, ingested_digits):
    return Place(tmp_path, ingested_digits)


def space(**fields):
    return json.dumps({name.replace("__", "."): entry for name, entry in fields.items()})


def trial_processes(folder):
    """Those of jobs that were started in this folder; another run of these tests may have its own."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        own = process.info["cwd"] == os.path.realpath(folder)
        if own and "convoy.training.distributed.spark_task" in (process.info["cmdline"] or ()):
            found.append(process)
    return found


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.05)


def test_two_at_a_time_with_a_failure_and_a_killed_driver(place):
    own = [
        *("--tune.space", space(**{RATE: {"choices": [1e38, 0.01, 0.02, 0.05]}}), "--tune.parallel", "2"),
        *("--training.epochs", "2", "--tune.pruner", "none", "--tune.best", "register"),
    ]
    command = [sys.executable, str(ROOT / "jobs" / "tune.py"), *place.arguments, *own, "--training.epochs", "2"]
    said = []
    with subprocess.Popen(
        command, cwd=place.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as job:
        for line in job.stderr:
            said.append(line)
            if line.startswith("0 ") and "failed" in line:
                break
        wait_for(lambda: trial_processes(place.folder))  # two more trials are to come, at least
        job.send_signal(signal.SIGKILL)
    assert said, "the job said nothing"
    assert "failed" in said[-1], said
    assert "the loss is nan" in said[-1]
    wait_for(lambda: not trial_processes(place.folder))

    status, result, text = place.run(*own)
    assert status == 0, text
    assert "resuming study 'digits'" in text
    assert (result["trials"], result["complete"], result["failed"], result["pruned"]) == (4, 3, 1, 0)
    assert result["best"]["fields"][RATE] in (0.01, 0.02, 0.05)
    assert (result["model_version"], result["model_uri"]) == ("1", "models:/digits/1")
    rows = list(csv.DictReader(artifact(place, result, "trials.csv").read_text().splitlines()))
    assert sorted(float(row[RATE]) for row in rows) == [0.01, 0.02, 0.05, 1e38]
    best = max(float(row["val_accuracy"]) for row in rows if row["val_accuracy"])
    assert result["best"]["value"] == best > 0.3

    client, children = place.client(), place.children(result["run_id"])
    assert client.get_run(result["run_id"]).info.status == "FINISHED"
    assert client.get_run(result["run_id"]).data.metrics["trial_best_val_accuracy"] == best
    states = [(run.info.status, run.data.tags.get("convoy.trial.state")) for run in children]
    assert states.count(("FINISHED", "complete")) == 3
    assert states.count(("FAILED", "failed")) == 1
    assert {state for state in states if state[1] is None} <= {("KILLED", None)}
    assert client.get_model_version("digits", "1").run_id == result["best"]["run_id"]
    names = {file.path for file in client.list_artifacts(result["run_id"])}
    assert names >= PICTURES | {"trials.csv", "best.yaml"}
    assert Image.open(artifact(place, result, "slices.png")).width > 400
    fields = yaml.safe_load(artifact(place, result, "best.yaml").read_text())
    assert fields == {"training": {"optimizer": {"learning_rate": result["best"]["fields"][RATE]}}}
    assert not any((place.folder / "checkpoints").glob("*"))

    status, again, text = place.run(*own)  # there is nothing left to do
    assert (status, again["run_id"], again["model_version"]) == (0, result["run_id"], "1")
    assert len(place.children(result["run_id"])) == len(children)
    status, _, text = place.run(*own, "--training.epochs", "3")
    assert (status, text.count("\n")) == (2, 1)
    assert "its training.epochs is 2, but here it is 3" in text


def artifact(place, result, name):
    return Path(place.client().download_artifacts(result["run_id"], name))


def test_one_at_a_time_with_a_pruned_trial_and_the_best_trained_again(place):
    status, result, text = place.run(
        *("--tune.space", space(**{RATE: {"choices": [0.05, 1e-6]}}), "--tune.pruner", "halving"),
        *("--training.num_workers", "0", "--training.epochs", "2", "--tune.best", "retrain"),
    )
    assert status == 0, text
    assert (result["trials"], result["complete"], result["pruned"]) == (2, 1, 1)
    runs = place.children(result["run_id"])
    assert [run.info.run_name for run in runs] == ["trial 0", "trial 1", "best (trial 0)"]
    assert [run.info.status for run in runs] == ["FINISHED", "KILLED", "FINISHED"]
    assert runs[1].data.tags["convoy.stopped"].startswith("pruned after epoch 1, val_accuracy 0.")
    assert "convoy.failure" not in runs[1].data.tags
    first, _, best = (run.data for run in runs)
    assert best.tags["weights.sha256"] == first.tags["weights.sha256"]
    assert (result["model_version"], result["best"]["run_id"]) == ("1", runs[0].info.run_id)
    assert "report.html" in {file.path for file in place.client().list_artifacts(runs[2].info.run_id)}
    assert len([line for line in text.splitlines() if line[:2] in ("0 ", "1 ")]) == 2


@pytest.mark.long  # the same process, stopped, is in tests/training/test_on_task.py
def test_a_trial_that_stands_still_is_a_failed_trial_and_the_study_goes_on(place, monkeypatch):
    pids = {}

    class Halting(OnTask):
        """Stops the process of one trial after its first epoch."""

        def __call__(self, spark, task, handle):
            rate = task.training.optimizer.learning_rate

            def watched(event):
                if isinstance(event, Started):
                    pids[rate] = event.pid
                if isinstance(event, Epoch) and rate == 0.02:
                    os.kill(pids[rate], signal.SIGSTOP)
                handle(event)

            return super().__call__(spark, task, watched)

    monkeypatch.setattr(workflow, "OnTask", Halting)
    status, result, text = place.run(
        *("--tune.space", space(**{RATE: {"choices": [0.02, 0.05]}}), "--tune.parallel", "2", "--tune.pruner", "none"),
        *("--training.epochs", "3", "--training.stall_timeout", "30"),
    )
    assert status == 0, text
    assert (result["trials"], result["complete"], result["failed"]) == (2, 1, 1)
    assert result["best"]["fields"] == {RATE: 0.05}
    assert "the training made no progress for 30 s (training.stall_timeout)" in text
    assert not psutil.pid_exists(pids[0.02])
    ended = {run.info.status: run for run in place.children(result["run_id"])}
    assert "no progress" in ended["FAILED"].data.tags["convoy.failure"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tune.space", '{"training.epohcs": {"low": 1, "high": 2}}'], "did you mean 'training.epochs'"),
        (["--tune.space", '{"model.name": {"choices": ["lenet5", "lenet6"]}}'], "tune.space: model.name lenet6: "),
        (["--tune.space", EPOCHS, "--tune.parallel", "9"], "tune.parallel is 9"),
        (
            ["--tune.space", EPOCHS, "--tune.best", "register", "--tracking.registered_model", "null"],
            "tune.best is 'register', but tracking.registered_model is null",
        ),
    ],
)
def test_what_cannot_be_tuned_is_one_line(place, arguments, said):
    status, result, text = place.run(*arguments)
    assert (status, result) == (2, None)
    assert text.count("\n") == 1
    assert text.startswith("error: ")
    assert said in text
    assert not (place.folder / "checkpoints").exists() or not os.listdir(place.folder / "checkpoints")
