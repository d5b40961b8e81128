"""Ranks that are killed or stand still, for real: training goes on from a checkpoint, and ends as if nothing was."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from convoy.config import CheckpointConfig, ModelConfig, OptimizerConfig, TrainingConfig
from convoy.models.builder import build
from convoy.training.distributed.launch import RankFailure, launch
from convoy.training.events import Restart, Resumed, Started, Step
from convoy.training.loop import TrainTask

pytestmark = [pytest.mark.spark, pytest.mark.e2e, pytest.mark.long]


class Driver:
    """Takes the events of a training on two ranks; sends a signal to rank 1 once, after so many steps."""

    def __init__(self, after=None, number=None):
        self.after, self.number = after, number
        self.events, self.pids = [], {}
        self.hit = False

    def handle(self, event):
        self.events.append(event)
        if isinstance(event, Started):
            self.pids[event.rank] = event.pid
        done = event.epoch * event.steps + event.step if isinstance(event, Step) else 0
        if not self.hit and self.after is not None and done >= self.after:
            self.hit = True
            os.kill(self.pids[1], self.number)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def run(spark, dataset: Path, folder: Path, driver: Driver, **settings):
    options = {"epochs": 3, "global_batch_size": 16, "optimizer": OptimizerConfig("sgd", 0.05), **settings}
    training = TrainingConfig(num_workers=2, checkpoint=CheckpointConfig(str(folder), every_steps=7), **options)
    task = TrainTask(str(dataset), ModelConfig("mnist_cnn"), training, build, 1, str(folder))
    return launch(spark, task, driver.handle)


@pytest.fixture(scope="module")
def whole(spark, dataset, tmp_path_factory):
    return run(spark, dataset, tmp_path_factory.mktemp("whole"), Driver())


def test_a_killed_rank_is_started_again_and_the_weights_are_the_same_bits(spark, dataset, tmp_path, whole):
    driver = Driver(after=30, number=signal.SIGKILL)
    trained = run(spark, dataset, tmp_path, driver)
    assert driver.hit
    assert [event.attempt for event in driver.of(Restart)] == [1]
    assert driver.of(Resumed)
    assert trained.weights_sha256 == whole.weights_sha256


@pytest.mark.long
def test_a_rank_that_stands_still_is_ended_and_started_again(spark, dataset, tmp_path, whole):
    driver = Driver(after=30, number=signal.SIGSTOP)
    trained = run(spark, dataset, tmp_path, driver, stall_timeout=20)
    stopped = driver.of(Started)[1].pid, driver.of(Started)[0].pid
    assert "no rank made progress for 20 s" in driver.of(Restart)[0].reason
    assert trained.weights_sha256 == whole.weights_sha256
    assert not any(psutil.pid_exists(pid) for pid in stopped)


@pytest.mark.long
def test_restarts_are_bounded(spark, dataset, tmp_path):
    driver = Driver(after=5, number=signal.SIGTERM)
    with pytest.raises(RankFailure, match="the ranks did not finish"):
        run(spark, dataset, tmp_path, driver, max_restarts=0)
    assert not any(psutil.pid_exists(pid) for pid in driver.pids.values())
