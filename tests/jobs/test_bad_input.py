"""What the user gets wrong: one line, exit status 2, nothing half-written."""

import contextlib
import http.server
import importlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from convoy.tracking import connection
from tests.spark_support import write_images

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.spark


@pytest.fixture
def refused(spark, tmp_path, monkeypatch, capsys):
    """Run a job in this process; returns the one line that it says, once status 2 is checked."""
    monkeypatch.chdir(tmp_path)

    def run(job: str, *arguments: str) -> str:
        config = ["--config", str(ROOT / "conf" / "digits.yaml")]
        status = importlib.import_module(f"jobs.{job}").main([*config, *arguments])
        captured = capsys.readouterr()
        errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
        assert (status, len(errors)) == (2, 1), captured.err
        assert "Traceback" not in captured.err
        assert captured.out == ""
        return errors[0]

    return run


@pytest.fixture
def digits(ingested_digits, tmp_path) -> str:
    """The embedded digits as a dataset version under ``tmp_path``; returns the version."""
    shutil.copytree(ingested_digits, tmp_path / "work" / "datasets")
    (version,) = (path.parent.name for path in ingested_digits.glob("*/*/manifest.json"))
    return version


FOLDER = ("--source.kind", "folder", "--source.path")


def test_missing_folder(refused, tmp_path):
    (tmp_path / "imagse").mkdir()
    line = refused("ingest", *FOLDER, "images")
    assert "'images' does not exist" in line
    assert "imagse" in line
    assert not (tmp_path / "work").exists()


def test_no_folder_given(refused):
    assert "source.path is missing" in refused("ingest", "--source.kind", "folder")


def test_a_file_instead_of_a_folder(refused, tmp_path):
    (tmp_path / "images.zip").write_bytes(b"PK")
    assert "is a file" in refused("ingest", *FOLDER, "images.zip")


def test_empty_folder(refused, tmp_path):
    (tmp_path / "images").mkdir()
    assert "has no class folders; expected <path>/<class>/<image>" in refused("ingest", *FOLDER, "images")
    assert not (tmp_path / "work").exists()


def test_class_without_files(refused, tmp_path):
    write_images(tmp_path / "images", {"cat": 3})
    (tmp_path / "images" / "dog").mkdir()
    assert "class 'dog' has no images" in refused("ingest", *FOLDER, "images")


@pytest.mark.long
def test_class_without_a_readable_image(refused, tmp_path):
    write_images(tmp_path / "images", {"cat": 30}, (32, 32))
    (tmp_path / "images" / "dog").mkdir()
    (tmp_path / "images" / "dog" / "1.png").write_bytes(b"")
    line = refused("ingest", *FOLDER, "images", "--dataset.max_bad_fraction", "0.5")
    assert "class 'dog' has no readable image (empty: 1)" in line
    assert list((tmp_path / "work" / "datasets" / "digits").iterdir()) == []


@pytest.mark.long
def test_root_that_cannot_be_written_to(refused, tmp_path):
    (tmp_path / "taken").write_text("a file")
    assert "dataset.root 'taken/sets' cannot be written to" in refused("ingest", "--dataset.root", "taken/sets")


@pytest.mark.parametrize("job", ["ingest", "train", "evaluate", "score"])
def test_unknown_field(refused, job):
    assert "did you mean 'training.epochs'" in refused(job, "--training.epoch", "3")


def test_unknown_model(refused, digits, tmp_path):
    line = refused("train", "--model.name", "lenet")
    assert "expected one of lenet5, alexnet, vgg11, " in line
    assert line.endswith("did you mean 'lenet5'?")
    assert not (tmp_path / "work" / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model.layers", "[{conv: {filters: 3}}]"), "layer 1 of model.layers (conv) is not a known layer"),
        (
            ("--model.layers", "[flatten, {dense: {activation: rellu}}]"),
            "unknown activation 'rellu'; did you mean 'relu'?",
        ),
        (("--model.activation", "rellu"), "model.activation"),
        (("--model.initialiser", "he"), "model.initialiser 'he' is unknown"),
        (("--model.name", "nosuchnets:build"), "there is no module 'nosuchnets'"),
        (("--model.name", "json:loads"), "model.name 'json:loads' fails for samples of (32, 32, 1)"),
        (("--model.name", "operator:is_"), "'operator:is_' returns bool; expected a Keras model"),
    ],
)
def test_network_of_the_users_own_that_is_none(refused, digits, tmp_path, arguments, said):
    assert said in refused("train", *arguments)
    assert not (tmp_path / "work" / "mlflow.db").exists()


def test_geometry_that_the_network_cannot_take(refused, capsys, tmp_path, spark):
    small = ["--dataset.image.height", "4", "--dataset.image.width", "4"]
    assert importlib.import_module("jobs.ingest").main(["--config", str(ROOT / "conf" / "digits.yaml"), *small]) == 0
    capsys.readouterr()
    line = refused("train")
    assert "lenet5 does not fit images of 4x4x1: layer 'c1' (Conv2D): 4x4 with a 5x5 filter" in line
    assert not (tmp_path / "work" / "mlflow.db").exists()


def test_no_dataset_at_all(refused):
    assert "there is no dataset 'digits' under 'work/datasets'" in refused("train")


def test_dataset_that_does_not_exist(refused, digits):
    line = refused("train", "--dataset.name", "digit")
    assert "it holds digits; did you mean 'digits'?" in line
    assert f"it has {digits}" in refused("train", "--dataset.version", "0123")


@pytest.mark.long
def test_more_workers_than_spark_can_run_at_once(refused, digits, tmp_path):
    line = refused("train", "--training.num_workers", "64", "--training.global_batch_size", "640")
    assert "training.num_workers is 64, but Spark (master local[4]) can run 4 tasks at once" in line


def test_fewer_samples_than_ranks_in_a_batch(refused):
    line = refused("train", "--training.global_batch_size", "1")
    assert "training.global_batch_size is 1; expected at least one sample for each of the 2 ranks" in line


def test_tracking_server_that_does_not_answer(refused, digits):
    line = refused("train", "--tracking.uri", "http://127.0.0.1:9")
    assert "tracking.uri 'http://127.0.0.1:9' does not answer" in line


@pytest.mark.parametrize("server", ["none", "silent", "gateway"])
def test_tracking_server_that_is_away_when_scores_are_wanted(refused, digits, monkeypatch, server, tmp_path):
    if server == "silent":
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with contextlib.ExitStack() as stack:
        if server == "gateway":
            listening = stack.enter_context(http.server.HTTPServer(("127.0.0.1", 0), Unavailable))
            threading.Thread(target=listening.serve_forever, daemon=True).start()
            stack.callback(listening.shutdown)
            port, reason = listening.server_port, "status 503"
        else:
            waiting = stack.enter_context(socket.socket())
            waiting.bind(("127.0.0.1", 0))
            if server == "silent":
                waiting.listen()
            port, reason = waiting.getsockname()[1], "ReadTimeout" if server == "silent" else "ConnectionError"
        line = refused("score", "--tracking.uri", f"http://127.0.0.1:{port}")
    seconds = os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]
    assert f"does not answer within {seconds} s ({reason}); start the server" in line
    assert not (tmp_path / "work" / "scores").exists()


class Unavailable(http.server.BaseHTTPRequestHandler):
    """What stands before a server that is away."""

    def do_POST(self):
        self.send_error(503)

    def log_message(self, format, *args):
        pass


def test_name_under_which_no_model_can_be_registered(refused, digits, tmp_path):
    line = refused("train", "--tracking.registered_model", "team/digits")
    assert "tracking.registered_model is 'team/digits'; expected a name without" in line
    assert not (tmp_path / "work" / "mlflow.db").exists()


def test_negative_seed(refused):
    assert "training.seed is -1; expected 0 or more" in refused("train", "--training.seed", "-1")


def test_folders_of_splits_with_another_beside_them(refused, tmp_path):
    for name in ("train/a", "test/a", "annotations"):
        write_images(tmp_path / "images", {name: 2})
    assert "folders of splits and, beside them, 'annotations'" in refused("ingest", *FOLDER, "images")


def test_tracking_file_that_is_not_there_when_only_read(refused, digits, tmp_path):
    line = refused("evaluate", "--tracking.uri", "sqlite:///typo.db")
    assert "'sqlite:///typo.db' does not exist; run jobs/train.py first" in line
    assert not (tmp_path / "typo.db").exists()


def test_tracking_store_of_a_kind_that_mlflow_no_longer_takes(refused, digits):
    assert "use sqlite:///mlruns/mlflow.db" in refused("train", "--tracking.uri", "mlruns")


def test_tracking_file_that_is_no_database(refused, digits, tmp_path):
    (tmp_path / "notes.txt").write_text("these are my notes\n" * 100)
    assert "is not a readable MLflow store" in refused("train", "--tracking.uri", "sqlite:///notes.txt")


@pytest.mark.long
@pytest.mark.parametrize("job", ["evaluate", "score"])
@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("models:/digits/1", "no model 'digits' is registered; none is registered yet"),
        ("models:/digits@champion", "no model 'digits' is registered"),
        ("runs:/0123456789abcdef/model", "there is no run '0123456789abcdef'"),
        ("models:/it's/1", "is not a model URI"),
        ("my-model.keras", "is not a model URI; expected models:/name/version"),
    ],
)
def test_model_that_does_not_exist(refused, digits, job, uri, said):
    connection.connect("sqlite:///work/mlflow.db", create=True)
    assert said in refused(job, f"--{'evaluation' if job == 'evaluate' else 'scoring'}.model", uri)


def test_scoring_input_that_is_missing_or_empty(refused, tmp_path):
    assert "scoring.input 'nowhere' is not a folder" in refused("score", "--scoring.input", "nowhere")
    (tmp_path / "void").mkdir()
    assert "scoring.input 'void' has no files" in refused("score", "--scoring.input", "void")


def test_scoring_output_that_holds_something_else(refused, digits, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("...")
    assert "scoring.output 'precious' holds other files" in refused("score", "--scoring.output", "precious")
    assert (tmp_path / "precious" / "thesis.tex").read_text() == "..."


def test_split_that_the_dataset_lacks(refused, tmp_path, capsys, spark):
    write_images(tmp_path / "images" / "train", {"a": 40, "b": 40}, (32, 32))
    arguments = ["--config", str(ROOT / "conf" / "digits.yaml"), *FOLDER, str(tmp_path / "images")]
    assert importlib.import_module("jobs.ingest").main(arguments) == 0
    capsys.readouterr()
    assert "has no split 'test'; it has train, validation" in refused("evaluate")
    assert "has no split 'holdout'" in refused("score", "--scoring.input", "dataset:holdout")


def test_no_java(tmp_path):
    environment = {**os.environ, "JAVA_HOME": str(tmp_path)}
    command = [sys.executable, str(ROOT / "jobs" / "ingest.py"), "--config", str(ROOT / "conf" / "digits.yaml")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: JAVA_HOME is {str(tmp_path)!r}, with no working bin/java")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_spark_that_does_not_start(tmp_path):
    command = [sys.executable, str(ROOT / "jobs" / "ingest.py"), "--config", str(ROOT / "conf" / "digits.yaml")]
    command += ["--spark.master", "lokal[2]"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 2
    assert "error: Spark does not start with spark.master 'lokal[2]'" in done.stderr
