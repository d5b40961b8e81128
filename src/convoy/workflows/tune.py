"""Tune fields of a training: run trials on all ranks or several at a time on Spark tasks, and keep the best."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyspark.sql import SparkSession

from convoy.cluster.connect import classic_only
from convoy.cluster.preflight import Machine, check_executors, memory_per_rank
from convoy.cluster.session_facts import application_id, is_connect
from convoy.cluster.spark import session, slots, too_few_slots
from convoy.config import Config, TuneConfig
from convoy.console import say
from convoy.dataset.storage import catalog
from convoy.dataset.storage.filesystem import Location, location, remove_folder
from convoy.dataset.storage.manifest import NAME as MANIFEST
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ConfigError, ModelError, TrainingError, TrainingStopped
from convoy.models.builder import build
from convoy.tracking import connection, registry
from convoy.tracking.child_runs import ParentRun, parent_run
from convoy.tracking.run import TrainingRun
from convoy.training.checkpoint.resume import checkpoint_folder, ensure_checkpoint_root
from convoy.training.distributed.elastic import ranks_to_start
from convoy.training.distributed.launch import RankFailure, launch
from convoy.training.distributed.spark_task import OnTask
from convoy.training.events import Emit
from convoy.training.loop import TrainedModel, TrainTask
from convoy.training.preparation import check_networks, fit_cache
from convoy.tuning.board import Board, TrialDisplay, as_csv, as_yaml, say_best
from convoy.tuning.figures import pictures_of
from convoy.tuning.parameter import Parameter
from convoy.tuning.space import applied, extremes, space_of
from convoy.tuning.storage import open_study
from convoy.tuning.study import Study
from convoy.tuning.trials import State, TrialResult, reason_to_end
from convoy.workflows.ingest import ingest
from convoy.workflows.results import TuneResult
from convoy.workflows.train import Hooks, initial_weights, train, train_in_run

Start = Callable[[SparkSession, TrainTask, Emit], TrainedModel]

_OWN_FAILURES = (ConfigError, ModelError, TrainingError, RankFailure)  # of one trial; other errors would stop all
_DRAW_SECONDS = 60.0
_END_SECONDS = 30.0


_STATES = ("complete", "pruned", "failed")


def tune(config: Config, spark: SparkSession | None = None) -> TuneResult:
    """Search ``tune.space`` for the best values; ingest the dataset first if it does not exist.

    Args:
        config: All sections; ``tune`` names the fields, the sampler and the limits.
        spark: The session; by default the active one, or a new one that is stopped at the end.

    Returns:
        The parent run, the counts of trials, and the best one.

    Raises:
        ConvoyError: Something that the user gave does not fit; the message says how to fix it.
    """
    started = time.monotonic()
    parameters, dataset = space_of(config), config.dataset
    check_best(config)
    if not catalog.versions(dataset.root, dataset.name):
        say(f"tune: dataset {dataset.name!r} does not exist yet; ingesting it first")
        ingest(config, spark)
    path = catalog.find(dataset.root, dataset.name, dataset.version)
    manifest = Manifest.load(path)
    check_networks(build, extremes(config, parameters), manifest)
    with open_study(config, parameters, manifest.fingerprint) as study:
        connection.connect(config.tracking.uri, config.tracking.registry_uri, create=True)
        with session("tune", config.spark, spark) as running:
            memory = memory_per_rank(running, check_machines(running, config, path))
            fitted = replace(config, training=fit_cache(config.training, manifest, memory))
            application = application_id(running)
            with parent_run(config, path, manifest, application, job="tune", again=study.run_id) as parent:
                context = StudyContext(running, fitted, parameters, path, manifest, parent)
                Runner(context, study, started).run()
                found = finalize_best(context, study)
    return TuneResult(
        run_id=parent.run_id,
        experiment_id=parent.experiment_id,
        dataset_version=manifest.version,
        study=found,
        seconds=round(time.monotonic() - started, 3),
    )


class Pruned(TrainingStopped):
    """Raised to end a trial that looks worse than others."""


@dataclass(frozen=True)
class StudyContext:
    """Context of all trials.

    Attributes:
        spark: The session.
        config: The configuration that trials change.
        parameters: Parameters of ``tune.space``.
        path: Folder of the dataset version.
        manifest: Its manifest.
        parent: The run of the study.
    """

    spark: SparkSession
    config: Config
    parameters: Sequence[Parameter]
    path: Location
    manifest: Manifest
    parent: ParentRun


def check_machines(spark: SparkSession, config: Config, path: Location) -> list[Machine]:
    """Raise an error unless Spark has enough slots and its machines have what a training needs; return the machines.

    Raises:
        ClusterError: Too few slots, or executors that differ from the driver.
        DatasetError: An executor does not see the dataset.
    """
    wanted = config.tune.parallel
    if wanted is None:
        return check_executors(
            spark, ranks_to_start(spark, config.training), str(path / MANIFEST), ensure_checkpoint_root(config.training)
        )
    if is_connect(spark):
        raise classic_only("tune.parallel", wanted, "trials on Spark's tasks need", "leave it out")
    if wanted > (available := slots(spark, wanted)):
        raise too_few_slots("tune.parallel", wanted, str(spark.sparkContext.master), available)
    return check_executors(spark, wanted, str(path / MANIFEST), None)


def trial_config(config: Config, values: Mapping[str, Any]) -> Config:
    """Return a trial's configuration.

    Raises:
        ConfigError: The values contradict each other.
    """
    found = applied(replace(config, tune=TuneConfig()), values)
    tracking = replace(found.tracking, registered_model=None, report=False)
    training = found.training
    if config.tune.parallel is not None:
        training = replace(training, num_workers=1, min_workers=1, elastic=False)
    return replace(found, tracking=tracking, training=training)


class Runner:
    """Runs the trials of a study.

    Only one thread at a time, which holds the lock, works on the driver; it waits for trainings without the lock.

    Args:
        context: Context of all trials.
        study: The study.
        begun: Start of the job, by ``time.monotonic``.
    """

    def __init__(self, context: StudyContext, study: Study, begun: float) -> None:
        self._all, self._study, self._begun = context, study, begun
        tune = context.config.tune
        self._tune, self._on_task = tune, OnTask()
        self._board = Board(context.parameters, tune.metric, tune.trials)
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._drawn = time.monotonic()
        self._reason = ""

    def run(self) -> None:
        """Run trials until a limit is reached.

        Raises:
            ConvoyError: An error that stops all trials.
        """
        self._all.parent.set_tag("convoy.study", self._study.name)
        earlier, self._study.run_id = self._study.run_id, self._all.parent.run_id
        killed = self._study.revive()
        if earlier:
            left = f", {killed} of them were interrupted and are tried again" if killed else ""
            say(f"tune: resuming study {self._study.name!r}: {len(self._study.trials()) + killed} trials{left}")
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

    def _try(self, asked: TrialResult, start: Start) -> None:
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

    def _ended(self, tried: TrialResult, run_ids: Sequence[str]) -> None:
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

    def _train(self, asked: TrialResult, start: Start, run_ids: list[str]) -> Mapping[str, Any]:
        """Train in a separate run; the lock is held before and after, but not while the training runs."""
        all_, number, metric = self._all, asked.number, self._tune.metric
        config = trial_config(all_.config, asked.values)
        tags = all_.parent.tags_of_trial(number, f"trial {number}")

        def watch(epoch: int, metrics: Mapping[str, float]) -> None:
            with self._lock:
                bad = self._study.report(number, epoch, metrics[metric])
            if bad and epoch + 1 < config.training.epochs:
                raise Pruned(f"pruned after epoch {epoch + 1}, {metric} {metrics[metric]:.4f}")

        def unlocked(spark: SparkSession, task: TrainTask, handle: Emit) -> TrainedModel:
            self._lock.release()
            try:
                return start(spark, task, handle)
            finally:
                self._lock.acquire()

        def opened(run: TrainingRun) -> None:
            run_ids.append(run.run_id)
            self._study.note(number, run_id=run.run_id)

        hooks = Hooks(
            launch=unlocked,
            opened=opened,
            watch=watch,
            display=TrialDisplay(self._board, number),
            checkpoints=start is launch,
        )
        try:
            with initial_weights(config, all_.manifest) as weights:
                return train_in_run(all_.spark, config, all_.path, all_.manifest, weights, tags, hooks)[1]
        finally:  # checkpoints are only needed while the trial runs
            for run_id in run_ids:
                remove_folder(location(checkpoint_folder(config.training, run_id)))


def check_best(config: Config) -> None:
    """Raise ``ConfigError`` if the best model is to be registered but has no name."""
    if config.tune.best != "keep" and config.tracking.registered_model is None:
        raise ConfigError(
            f"tune.best is {config.tune.best!r}, but tracking.registered_model is null; give a name, e.g."
            " --tracking.registered_model digits, or use --tune.best keep"
        )


def finalize_best(context: StudyContext, study: Study) -> dict[str, Any]:
    """Keep, register or retrain the best trial's model, according to ``tune.best``, once; return fields of the result.

    Raises:
        TrainingError: No trial is complete.
    """
    trials, best, config = study.trials(), study.best(), context.config
    if best is None:
        reasons = [one.reason for one in trials if one.state == "failed"]
        why = f"; the last error: {reasons[-1]}" if reasons else ""
        raise TrainingError(f"none of {len(trials)} trials is complete{why}")
    say_best(best, config.tune.metric)
    done = study.result
    if (done.get("trial"), done.get("best")) != (best.number, config.tune.best):
        done = {"trial": best.number, "best": config.tune.best, **_finalized(context, best)}
        study.result = done
    return {
        "study": study.name,
        "trials": len(trials),
        **{state: sum(one.state == state for one in trials) for state in _STATES},
        "metric": config.tune.metric,
        "best": {"trial": best.number, "run_id": best.run_id, "value": best.value, "fields": dict(best.values)},
        "model_uri": done["model_uri"],
        "model_version": done["model_version"],
    }


def _finalized(context: StudyContext, best: TrialResult) -> dict[str, Any]:
    config = context.config
    name = config.tracking.registered_model
    if config.tune.best == "keep" or name is None:
        return {"model_uri": best.model_uri, "model_version": None}
    if config.tune.best == "register":
        version = registry.register(best.model_uri, name, best.run_id)
        say(f"registered: trial {best.number} is models:/{name}/{version}")
        return {"model_uri": f"models:/{name}/{version}", "model_version": version}
    say(f"training trial {best.number} again")
    again = applied(replace(config, tune=TuneConfig()), best.values)
    trained = train(again, context.spark, context.parent.tags_of_trial(None, f"best (trial {best.number})"))
    say(f"registered: {trained.model_uri}, {config.tune.metric} {trained.metrics[config.tune.metric]:.4f}")
    return {"model_uri": trained.model_uri, "model_version": trained.model_version}
