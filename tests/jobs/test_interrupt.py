"""Ctrl-C and SIGTERM in the middle of a job: it ends soon, says so, and leaves nothing running or half-written."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.spark_support import write_images

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def start(job: str, folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(ROOT / "jobs" / f"{job}.py"), "--config", str(ROOT / "conf" / "digits.yaml")]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.01)


def family(process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended
        return []


def run_status(database: Path) -> str | None:
    with sqlite3.connect(database) as connection:
        row = connection.execute("select status from runs").fetchone()
    return None if row is None else row[0]


def epochs_logged(database: Path) -> int:
    if not database.exists():
        return 0
    try:
        with sqlite3.connect(database) as connection:
            return connection.execute("select count(*) from metrics where key = 'loss'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


@pytest.mark.parametrize(
    "whole_group",
    [
        pytest.param(False, id="SIGINT to the driver"),
        pytest.param(True, id="SIGTERM to the whole group", marks=pytest.mark.long),
    ],
)
def test_training_on_ranks_ends_and_its_run_says_how(ingested_digits, tmp_path, whole_group):
    process = start("train", tmp_path, "--training.epochs", "100000", "--dataset.root", str(ingested_digits))
    database = tmp_path / "work" / "mlflow.db"
    wait_for(lambda: epochs_logged(database) >= 2)
    assert run_status(database) == "RUNNING"
    others = family(process)
    if whole_group:
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=1200)
    assert process.returncode == 130, text
    _, said, after = text.partition("\ninterrupted\n")  # Horovod's threads in Spark's workers may complain before
    assert said, text
    assert "Traceback" not in after
    assert run_status(database) == "KILLED"
    psutil.wait_procs(others, timeout=60)
    assert [other for other in others if other.is_running() and other.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.long
def test_an_experiment_ends_and_none_of_its_runs_is_left_running(ingested_digits, tmp_path):
    variants = '{"long": {"training.epochs": 100000}, "never": {}}'
    process = start("experiment", tmp_path, "--experiment.variants", variants, "--dataset.root", str(ingested_digits))
    database = tmp_path / "work" / "mlflow.db"
    wait_for(lambda: epochs_logged(database) >= 1)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=1200)
    assert process.returncode == 130, text
    assert "interrupted" in text.splitlines()[-3:]
    with sqlite3.connect(database) as connection:
        runs = connection.execute("select name, status from runs order by start_time").fetchall()
    assert runs == [("experiment-digits", "KILLED"), ("long", "KILLED")]


@pytest.mark.long
def test_a_driver_that_is_killed_leaves_no_rank_and_no_jvm(ingested_digits, tmp_path):
    process = start("train", tmp_path, "--training.epochs", "100000", "--dataset.root", str(ingested_digits))
    try:
        wait_for(lambda: epochs_logged(tmp_path / "work" / "mlflow.db") >= 1)
        others = family(process)
        assert sum("horovod.spark.task.gloo_exec_fn" in command_of(other) for other in others) == 2
    finally:
        process.kill()
    process.communicate(timeout=1200)
    psutil.wait_procs(others, timeout=60)
    assert [other for other in others if other.is_running() and other.status() != psutil.STATUS_ZOMBIE] == []


def test_ingest_leaves_nothing_half_written(tmp_path):
    write_images(tmp_path / "images", {"a": 3000, "b": 3000}, (40, 40))
    process = start("ingest", tmp_path, "--source.kind", "folder", "--source.path", "images")
    datasets = tmp_path / "work" / "datasets" / "digits"
    wait_for(lambda: datasets.is_dir() and any(datasets.glob(".staging-*")))  # it writes
    process.send_signal(signal.SIGTERM)
    _, text = process.communicate(timeout=1200)
    assert process.returncode == 130, text
    assert "interrupted" in text.splitlines()
    assert [path.name for path in datasets.iterdir() if not path.name.startswith(".lock")] == []
