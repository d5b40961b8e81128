"""The trials of a study: one at a time over the ranks, or some at a time on Spark tasks."""

import math
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from convoy.config import Config, TuneConfig
from convoy.console import say
from convoy.dataset.manifest import Manifest
from convoy.errors import ConfigError, ModelError, TrainingError
from convoy.models.registry import build
from convoy.spark import slots, too_few_slots
from convoy.tracking.initial_weights import initial_weights
from convoy.tracking.lifecycle import training_run
from convoy.tracking.record import tags_of_weights
from convoy.tracking.recorded import Course, train_model
from convoy.tracking.runs import TrainingRun
from convoy.tracking.trials import ParentRun
from convoy.training.elastic import ranks_to_start
from convoy.training.launch import Handle, RankFailure, launch, task_of
from convoy.training.on_task import OnTask
from convoy.training.preflight import check_executors
from convoy.training.progress import TrainingStopped
from convoy.training.recovery import checkpoint_folder, made_folder
from convoy.training.transfer import where_ranks_read
from convoy.training.worker import TrainedModel, TrainTask
from convoy.tuning.board import Board, TrialLine, as_csv, as_yaml
from convoy.tuning.parameter import Parameter
from convoy.tuning.pictures import pictures_of
from convoy.tuning.space import applied
from convoy.tuning.study import Study
from convoy.tuning.trials import State, Tried, reason_to_end

Start = Callable[[SparkSession, TrainTask, Handle], TrainedModel]

_OWN_FAILURES = (ConfigError, ModelError, TrainingError, RankFailure)  # of one trial; others would stop all of them
_DRAW_SECONDS = 60.0
_END_SECONDS = 30.0


class Pruned(TrainingStopped):
    """The trial looks worse than others."""


@dataclass(frozen=True)
class Setting:
    """What all trials have in common.

    Attributes:
        spark: The session.
        config: The configuration that trials change.
        parameters: Of ``tune.space``.
        path: Folder of the dataset version.
        manifest: Its manifest.
        parent: The run of the study.
    """

    spark: SparkSession
    config: Config
    parameters: Sequence[Parameter]
    path: Path
    manifest: Manifest
    parent: ParentRun


def check_machines(spark: SparkSession, config: Config, path: Path) -> None:
    """Look whether Spark has the slots, and its machines what they need.

    Raises:
        ClusterError: Too few slots, or executors that differ from the driver.
        DatasetError: An executor does not see the dataset.
    """
    wanted = config.tune.parallel
    if wanted is None:
        check_executors(spark, ranks_to_start(spark, config.training), str(path), made_folder(config.training))
        return
    if wanted > (available := slots(spark, wanted)):
        raise too_few_slots("tune.parallel", wanted, str(spark.sparkContext.master), available)
    check_executors(spark, wanted, str(path), None)


def trial_config(config: Config, values: Mapping[str, Any]) -> Config:
    """Return a trial's configuration.

    Raises:
        ConfigError: The values do not go together.
    """
    found = applied(replace(config, tune=TuneConfig()), values)
    tracking = replace(found.tracking, registered_model=None, report=False)
    training = found.training
    if config.tune.parallel is not None:
        training = replace(training, num_workers=1, min_workers=1, elastic=False)
    return replace(found, tracking=tracking, training=training)


class Runner:
    """Runs the trials of a study.

    The driver's work is done by one thread at a time, which holds the lock; trainings are waited for without it.

    Args:
        setting: What all trials have in common.
        study: The study.
        begun: When the job began, by ``time.monotonic``.
    """

    def __init__(self, setting: Setting, study: Study, begun: float) -> None:
        self._all, self._study, self._begun = setting, study, begun
        tune = setting.config.tune
        self._tune, self._on_task = tune, OnTask()
        self._board = Board(setting.parameters, tune.metric, tune.trials)
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._drawn = time.monotonic()
        self._reason = ""

    def run(self) -> None:
        """Run trials until a limit is reached.

        Raises:
            ConvoyError: What stops all trials.
        """
        self._all.parent.set_tag("convoy.study", self._study.name)
        earlier, self._study.run_id = self._study.run_id, self._all.parent.run_id
        killed = self._study.revive()
        if earlier:
            left = f", {killed} of them were cut short and are tried again" if killed else ""
            say(f"tune: going on with study {self._study.name!r}: {len(self._study.trials()) + killed} trials{left}")
        try:
            if self._tune.parallel is None:
                self._one_after_the_other(launch)
            else:
                self._side_by_side(self._tune.parallel)
        finally:
            self._board.close()
        self.draw()
        trials = self._study.trials()
        counts = [(state, sum(one.state == state for one in trials)) for state in ("complete", "pruned", "failed")]
        many = ", ".join(f"{count} {state}" for state, count in counts if count)
        say(f"tune: {len(trials)} trials ({many}); ended by {self._reason}")

    def _side_by_side(self, count: int) -> None:
        threads = [threading.Thread(target=self._in_thread, name=f"trial-{i}", daemon=True) for i in range(count)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # so that signals are handled in between
        except BaseException:
            self._failure = self._failure or TrainingStopped("interrupted")
            self._on_task.stop()
            deadline = time.monotonic() + _END_SECONDS
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            raise
        if isinstance(self._failure, TrainingStopped):
            raise KeyboardInterrupt
        if self._failure is not None:
            raise self._failure

    def _in_thread(self) -> None:
        try:
            self._one_after_the_other(self._on_task)
        except BaseException as error:
            self._failure = self._failure or error
            self._on_task.stop()

    def _one_after_the_other(self, start: Start) -> None:
        with self._lock:
            while self._failure is None:
                trials = self._study.trials()
                reason = reason_to_end(self._tune, trials, time.monotonic() - self._begun)
                asked = None if reason else self._study.ask()
                if asked is None:
                    self._reason = self._reason or reason or "the grid, which has no more values"
                    return
                self._board.began(asked.number, sum(one.state != "running" for one in trials), self._study.best())
                self._try(asked, start)

    def _try(self, asked: Tried, start: Start) -> None:
        run_ids: list[str] = []
        state: State = "complete"
        value, reason = None, ""
        try:
            result = self._train(asked, start, run_ids)
            value = float(result[self._tune.metric])
            if not math.isfinite(value):
                raise TrainingError(f"{self._tune.metric} is {value}")
            self._study.note(asked.number, model_uri=result["model_uri"])
        except Pruned as error:
            state, reason = "pruned", str(error)
        except _OWN_FAILURES as error:
            state, value, reason = "failed", None, " ".join(str(error).splitlines()[0].split())
        self._study.note(asked.number, reason=reason)
        self._ended(self._study.tell(asked.number, state, value), run_ids)

    def _ended(self, tried: Tried, run_ids: Sequence[str]) -> None:
        best, metric = self._study.best(), self._tune.metric
        metrics: dict[str, float] = {} if tried.value is None else {f"trial_{metric}": tried.value}
        if best is not None and best.value is not None:
            metrics[f"trial_best_{metric}"] = best.value
        for run_id in run_ids:
            self._all.parent.log_trial(tried.number, metrics, run_id, {"convoy.trial.state": tried.state})
        self._board.ended(tried, best)
        if time.monotonic() - self._drawn > _DRAW_SECONDS:
            self.draw()

    def draw(self) -> None:
        """Log the pictures and tables of the trials so far to the parent run."""
        study, parameters, metric = self._study, self._all.parameters, self._tune.metric
        trials, best = study.trials(), study.best()
        title = f"{study.name}: {self._all.manifest.name}"
        found = pictures_of(trials, parameters, metric, study.importances(), title) if best else {}
        texts = {"trials.csv": as_csv(trials, parameters, metric)}
        self._all.parent.log(found, {**texts, **({"best.yaml": as_yaml(best.values)} if best else {})})
        if best is not None:
            self._all.parent.set_tag("convoy.best_run", best.run_id)
        self._drawn = time.monotonic()

    def _train(self, asked: Tried, start: Start, run_ids: list[str]) -> Mapping[str, Any]:
        """Train in a run of its own; the lock is held before and after, and not while the training runs."""
        all_, number, metric = self._all, asked.number, self._tune.metric
        config = trial_config(all_.config, asked.values)
        tags = all_.parent.tags_of_trial(number, f"trial {number}")

        def watch(epoch: int, metrics: Mapping[str, float]) -> None:
            with self._lock:
                bad = self._study.report(number, epoch, metrics[metric])
            if bad and epoch + 1 < config.training.epochs:
                raise Pruned(f"pruned after epoch {epoch + 1}, {metric} {metrics[metric]:.4f}")

        def unlocked(spark: SparkSession, task: TrainTask, handle: Handle) -> TrainedModel:
            self._lock.release()
            try:
                return start(spark, task, handle)
            finally:
                self._lock.acquire()

        with ExitStack() as stack:
            weights = stack.enter_context(initial_weights(config, build, all_.manifest))
            application = all_.spark.sparkContext.applicationId
            tags |= tags_of_weights(weights.file if weights else None)
            run = stack.enter_context(training_run(config, all_.path, all_.manifest, application, tags))
            run_ids.append(run.run_id)
            self._study.note(number, run_id=run.run_id)
            folder = checkpoint_folder(config.training, run.run_id)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)  # of use to a trial that runs, and no longer
            readable = stack.enter_context(where_ranks_read(weights, folder))
            task = task_of(all_.spark, config, all_.path, build, run.run_id, readable)
            if start is not launch:
                task = replace(task, checkpoints=None)
            course = Course(unlocked, watch, TrialLine(self._board, number))
            return train_model(all_.spark, task, all_.manifest, run, config.tracking, _no_report, course)


def _no_report(run: TrainingRun, model: Any) -> None:
    """Trials have none."""
