"""The pipeline: four JSON lines from one process; what is done already is skipped, what has changed is not."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
STAGES = ["ingest", "train", "evaluate", "score"]

pytestmark = [pytest.mark.spark, pytest.mark.e2e]


class Place:
    """A folder for datasets, runs and scores, and the arguments that lead there."""

    def __init__(self, folder):
        self.folder = folder
        self.arguments = [
            *("--config", str(ROOT / "conf" / "digits.yaml")),
            *("--dataset.root", str(folder / "datasets"), "--tracking.uri", f"sqlite:///{folder}/mlflow.db"),
            *("--scoring.output", str(folder / "scores"), "--training.checkpoint.folder", str(folder / "checkpoints")),
            *("--training.epochs", "2", "--evaluation.bootstrap", "0", "--tracking.report", "false"),
        ]

    def again(self, capsys, *arguments, job="pipeline"):
        """Run in this process; return the exit status, the JSON lines and what is on stderr."""
        status = importlib.import_module(f"jobs.{job}").main([*self.arguments, *arguments])
        out, err = capsys.readouterr()
        return status, [json.loads(line) for line in out.splitlines()], err


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def first(place):
    """The pipeline as a process of its own, with two ranks."""
    command = [sys.executable, str(ROOT / "jobs" / "pipeline.py"), *place.arguments]
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(command, cwd=place.folder, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def names(lines):
    return [line["job"] for line in lines]


def skipped(lines):
    return [line["job"] for line in lines if line.get("skipped")]


def test_each_stage_uses_what_the_one_before_made(first):
    (ingest, train, evaluate, score), text = first
    assert [ingest["job"], train["job"], evaluate["job"], score["job"]] == STAGES
    assert evaluate["model"] == score["model"] == train["model_uri"] == "models:/digits/1"
    assert evaluate["run_id"] == train["run_id"]
    assert evaluate["dataset_version"] == ingest["version"]
    assert score["rows"] == ingest["rows"]["test"] == evaluate["rows"]
    table = pq.read_table(score["output"])
    right = sum(int(row["prediction"]) == row["label"] for row in table.to_pylist())
    assert right / table.num_rows == pytest.approx(evaluate["accuracy"], abs=1e-6)
    assert "skipped" not in text


def test_what_is_done_is_skipped_with_the_same_results(place, first, spark, capsys):
    status, lines, text = place.again(capsys)
    assert status == 0
    assert skipped(lines) == STAGES
    for before, now in zip(first[0], lines, strict=True):
        same = ("version", "rows", "run_id", "model_uri", "accuracy", "val_loss", "output")
        assert {name: now.get(name) for name in same} == {name: before.get(name) for name in same}
    assert "train: already done" in text


def test_a_job_of_its_own_counts_as_done(place, first, spark, capsys):
    assert place.again(capsys, "--scoring.top_k", "2", job="score")[0] == 0
    status, lines, _ = place.again(capsys, "--scoring.top_k", "2", "--from", "evaluate")
    assert (status, names(lines), skipped(lines)) == (0, ["evaluate", "score"], ["evaluate", "score"])


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "done_before"),
    [
        (["--training.seed", "1"], ["ingest"]),
        (["--evaluation.top_k", "3"], ["ingest", "train", "score"]),
        (["--scoring.probabilities", "true"], ["ingest", "train", "evaluate"]),
    ],
)
def test_what_has_changed_is_done_again(place, first, spark, capsys, change, done_before):
    if done_before != ["ingest"]:
        assert place.again(capsys)[0] == 0  # the scores that are compared with are those of this configuration
    status, lines, _ = place.again(capsys, *change)
    assert (status, names(lines), skipped(lines)) == (0, STAGES, done_before)


@pytest.mark.long
def test_scores_that_are_gone_are_made_again(place, first, spark, capsys):
    assert place.again(capsys)[0] == 0
    shutil.rmtree(place.folder / "scores")
    status, lines, _ = place.again(capsys, "--from", "score")
    assert (status, names(lines), skipped(lines)) == (0, ["score"], [])
    assert pq.read_table(place.folder / "scores").num_rows == lines[0]["rows"]


def test_a_model_that_fails_a_gate_is_not_scored(place, first, spark, capsys):
    gates = ["--evaluation.gates", "[accuracy >= 0.9999]", "--from", "evaluate"]
    status, lines, text = place.again(capsys, *gates)
    assert (status, names(lines)) == (3, ["evaluate"])
    assert lines[0]["passed"] is False
    assert text.splitlines()[-1].startswith("failed: models:/digits/")
    assert place.again(capsys, *gates)[0] == 3  # a failure is not remembered as done


@pytest.mark.long
def test_a_champion_that_was_replaced_is_evaluated_again(place, first, spark, capsys):
    gates = ["--evaluation.gates", "[accuracy >= 0.1]", "--until", "evaluate"]
    assert place.again(capsys, *gates)[1][-1]["champion"] is not None
    assert skipped(place.again(capsys, *gates)[1])[-1] == "evaluate"
    assert place.again(capsys, "--training.seed", "1", *gates)[0] == 0
    assert "evaluate" not in skipped(place.again(capsys, *gates)[1])


def test_stages_in_the_wrong_order_are_refused(place, capsys):
    status, lines, text = place.again(capsys, "--from", "score", "--until", "train")
    assert (status, lines) == (2, [])
    assert "--from is score and --until is train" in text


def test_what_a_later_stage_cannot_use_is_refused_before_the_first(place, capsys, tmp_path):
    arguments = ["--dataset.root", str(tmp_path / "datasets"), "--scoring.input", str(tmp_path / "missing")]
    status, lines, text = place.again(capsys, *arguments)
    assert (status, lines) == (2, [])
    assert str(tmp_path / "missing") in text
    assert not (tmp_path / "datasets").exists()
