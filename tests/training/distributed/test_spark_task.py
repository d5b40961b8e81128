"""A training in a fresh process of one Spark task: the same training, of which nothing stays behind."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from convoy.config import ModelConfig, OptimizerConfig, TrainingConfig
from convoy.errors import ClusterError, TrainingError, TrainingStopped
from convoy.models.builder import build
from convoy.training.distributed import spark_task as on_task_module
from convoy.training.distributed.fresh_process import environment, run
from convoy.training.distributed.launch import RankFailure
from convoy.training.distributed.spark_task import OnTask
from convoy.training.events import Epoch, Started
from convoy.training.loop import TrainTask

pytestmark = pytest.mark.long

FOREVER = 100_000


def task_of(dataset, epochs=1, rate=0.05, timeout=300):
    optimizer = OptimizerConfig("sgd", rate)
    training = TrainingConfig(
        num_workers=1, epochs=epochs, global_batch_size=40, optimizer=optimizer, stall_timeout=timeout
    )
    return TrainTask(str(dataset), ModelConfig(), training, build, 1)


def gone(pid, seconds=60.0):
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not psutil.pid_exists(pid)


@pytest.mark.spark
def test_trainings_side_by_side_are_the_same(spark, dataset):
    on_task, events = OnTask(), []
    with ThreadPoolExecutor(2) as threads:
        same = [threads.submit(on_task, spark, task_of(dataset), events.append) for _ in range(2)]
    first, second = (one.result() for one in same)
    assert first.weights_sha256 == second.weights_sha256
    assert first.keras_file[:2] == b"PK"
    assert sum(isinstance(event, Epoch) for event in events) == 2
    pids = {event.pid for event in events if isinstance(event, Started)}
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


@pytest.mark.spark
@pytest.mark.long
def test_a_training_that_diverges_says_so(spark, dataset):
    with pytest.raises(TrainingError, match="the loss is nan in epoch 1"):
        OnTask()(spark, task_of(dataset, rate=1e38), lambda event: None)


@pytest.mark.spark
def test_a_training_ends_when_its_watcher_raises_when_it_is_killed_or_stands_still_and_when_all_are_stopped(
    spark, dataset
):
    on_task, pids = OnTask(), {}

    def watch(name, at_epoch):
        def handle(event):
            if isinstance(event, Started):
                pids[name] = event.pid
            if isinstance(event, Epoch):
                at_epoch(name)

        return handle

    def prune(name):
        raise TrainingStopped("pruned")

    def kill(name):
        os.kill(pids[name], 9)

    def halt(name):
        os.kill(pids[name], signal.SIGSTOP)

    timeouts = {"halted": 4}
    ways = {"pruned": prune, "killed": kill, "halted": halt, "stopped": lambda name: None}
    with ThreadPoolExecutor(4) as threads:
        ended = {
            name: threads.submit(
                on_task, spark, task_of(dataset, FOREVER, timeout=timeouts.get(name, 300)), watch(name, way)
            )
            for name, way in ways.items()
        }
        with pytest.raises(TrainingStopped, match="pruned"):
            ended["pruned"].result(240)
        with pytest.raises(RankFailure, match="exit status -9"):
            ended["killed"].result(240)
        with pytest.raises(RankFailure, match=r"^the training made no progress for 4 s \(training.stall_timeout\)$"):
            ended["halted"].result(240)
        on_task.stop()
        with pytest.raises(TrainingStopped, match="interrupted"):
            ended["stopped"].result(240)
    assert len(pids) == 4
    assert all(gone(pid) for pid in pids.values())


@pytest.mark.spark
def test_a_process_that_cannot_reach_the_driver_says_where_it_tried(spark, dataset, monkeypatch):
    """192.0.2.1 is nobody's address: https://www.rfc-editor.org/rfc/rfc5737."""
    monkeypatch.setattr(on_task_module, "driver_addresses", lambda spark: ("127.0.0.1", "192.0.2.1"))
    with pytest.raises(
        ClusterError, match=r"^host \S+ cannot reach the driver at 192\.0\.2\.1:\d+ \(.*; set spark\.driver"
    ):
        OnTask()(spark, task_of(dataset), lambda event: None)


def test_a_process_gets_what_its_task_has(tmp_path):
    (tmp_path / "told.py").write_text("import sys; print(sys.stdin.buffer.read(3)); print('said', file=sys.stderr)")
    outcome = run("told", b"abc", environment(os.environ, [str(tmp_path)], None))
    assert (outcome.status, outcome.result, outcome.tail) == (0, b"b'abc'\n", "said\n")
    missing = run("no_such_module", b"abc" * 100_000, environment(os.environ, [], None))
    assert missing.status == 1
    assert "No module named no_such_module" in missing.tail


def test_a_process_sees_the_gpus_that_spark_gave_to_its_task_and_no_other():
    assert environment({"A": "1"}, ["x", "", "y"], None) == {
        "A": "1",
        "PYTHONPATH": f"x{os.pathsep}y",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    assert environment({}, [], ["2", "3"])["CUDA_VISIBLE_DEVICES"] == "2,3"
