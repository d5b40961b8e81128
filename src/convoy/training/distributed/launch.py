"""The driver's side of training: start the ranks with ``horovod.spark``, handle their events, return the model."""

import os
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import psutil
from pyspark.sql import SparkSession

import convoy.training.distributed.lean  # noqa: F401 - before the others import Keras
from convoy.cluster.connectivity import reported_problem
from convoy.cluster.cores import own_threads
from convoy.cluster.interrupt import interruptible
from convoy.cluster.session_facts import setting
from convoy.cluster.spark import driver_addresses, is_local
from convoy.config import Config
from convoy.dataset.storage.filesystem import Location
from convoy.errors import ClusterError
from convoy.models.pretrained.transfer import InitialWeights
from convoy.training.checkpoint.resume import checkpoint_folder
from convoy.training.distributed.collective import Collective, HorovodRanks, SingleProcess
from convoy.training.distributed.elastic import ScaleUp, ScaleUpMonitor, ranks_to_start
from convoy.training.distributed.event_channel import Address, EventServer
from convoy.training.distributed.horovod_env import driver_environment, horovod_environment
from convoy.training.distributed.rank_output import RankOutput
from convoy.training.distributed.watchdog import START_SECONDS, Watchdog
from convoy.training.events import CheckpointSaved, Emit, Event, Failure, Restart, Started, WorldSize
from convoy.training.loop import TrainedModel, TrainTask, train

T = TypeVar("T")
Work = Callable[[TrainTask, Collective, Emit], T | None]
"""The work of a rank, a module-level function; only rank 0's result is used."""

_STOP_SECONDS = 15  # that ranks have to exit after a signal
_LOOPBACK = "127.0.0.1"
_KILLED = re.compile(
    r"exit(?:ed with)?(?: exit)?[ _](?:code|status):? ?(?:137|-9)\b|OOMKilled"
    r"|exceeding (?:physical |virtual )?memory limits",
    re.IGNORECASE,
)
OUT_OF_MEMORY = (
    "killed (signal 9), probably because its machine or container is out of memory: lower training.global_batch_size,"
    " set training.cache to none, use fewer ranks per machine, or raise the memory limit (on YARN and Kubernetes"
    " spark.executor.memoryOverhead)"
)
_PEER_LOST = re.compile(r"HorovodInternalError|has been shut down|Connection (closed|reset)|ConnectionResetError|gloo")


def launch(spark: SparkSession, task: TrainTask, handle: Emit) -> TrainedModel:
    """Train on ``task.training.num_workers`` Horovod ranks, one Spark task each; with 0, in this process.

    If ranks are lost, or hang for ``task.training.stall_timeout`` seconds, training restarts from the newest
    checkpoint, up to ``max_restarts`` times; with ``elastic``, on as many ranks as Spark then has slots for.

    Args:
        spark: The session.
        task: The training.
        handle: Takes the ranks' events, in order, while training runs, and ``Restart`` and ``WorldSize`` events. An
            exception stops the ranks, and is raised again.

    Returns:
        The trained model.

    Raises:
        ClusterError: Spark cannot run so many ranks at once.
        ConvoyError: A rank raised an error that the user can fix.
        RankFailure: Ranks were lost too often, or failed for another reason than a loss.
    """
    return run_on_ranks(spark, task, handle, train)


def run_on_ranks(spark: SparkSession, task: TrainTask, handle: Emit, work: Work[T]) -> T:
    """Call a function on the ranks, as ``launch`` does with ``loop.train``, and return rank 0's result."""
    config = task.training
    if config.num_workers == 0:
        result = work(task, SingleProcess(), handle)
        assert result is not None
        return result
    attempt, before, lost, killed = 0, config.num_workers, False, False
    while True:
        ranks = ranks_to_start(spark, config, lost=lost)
        if ranks != before:
            handle(WorldSize(ranks, of=config.num_workers))
        before, lost = ranks, False
        try:
            return _on_ranks(spark, task, handle, work, ranks)
        except ScaleUp:
            pass
        except RankFailure as failure:
            if attempt == config.max_restarts or task.checkpoints is None or not failure.may_pass:
                raise
            if failure.killed and killed and not failure.progressed:  # it would run out of memory once more
                raise
            attempt, lost, killed = attempt + 1, True, failure.killed
            handle(Restart(attempt, failure.reason))
        task = replace(task, resume=True)


class RankFailure(RuntimeError):
    """The ranks did not finish, for a reason that the user cannot fix.

    Attributes:
        reason: The reason, in one line.
        may_pass: Whether another attempt may succeed.
        killed: Whether a rank was ended by signal 9, as by a kernel that is out of memory.
        progressed: Whether the ranks have completed an epoch before.
    """

    def __init__(self, reason: str, detail: str = "", *, may_pass: bool = True, killed: bool = False) -> None:
        super().__init__(f"{reason}\n{detail}" if detail else reason)
        self.reason, self.may_pass, self.killed, self.progressed = reason, may_pass, killed, False


def task_of(
    spark: SparkSession,
    config: Config,
    path: Location,
    build: Callable[..., Any],
    run_id: str,
    weights: InitialWeights | None = None,
    checkpoints: bool = True,
) -> TrainTask:
    """Return the description of a training for the ranks.

    Args:
        spark: The session.
        config: The configuration.
        path: Folder of the dataset version.
        build: Builds the network; see ``TrainTask``.
        run_id: Id of the tracked run, which names the folder of its checkpoints.
        weights: Initial weights, in a file that rank 0 can read.
        checkpoints: Whether checkpoints are written.
    """
    training = config.training
    folder = checkpoint_folder(training, run_id) if checkpoints else None
    threads = threads_per_rank(spark, training.num_workers)
    resume, health = training.resume is not None, config.tracking.report
    return TrainTask(str(path), config.model, training, build, threads, folder, resume, weights, health)


def threads_per_rank(spark: SparkSession, workers: int) -> int:
    """Return the TensorFlow threads per rank: the cores of its Spark task; without ranks, of this process (0: all)."""
    return int(setting(spark, "spark.task.cpus", "1") or 1) if workers else own_threads()


def _on_ranks(spark: SparkSession, task: TrainTask, handle: Emit, work: Work[T], ranks: int) -> T:
    import horovod.spark
    from horovod.runner import gloo_run

    context = spark.sparkContext
    local = is_local(str(context.master))
    environment = driver_environment(os.environ, local, context._python_includes or ())
    failures: list[Failure] = []
    saved: list[int] = []
    stop = threading.Event()
    watch = Watchdog(task.training.stall_timeout, stop.set)
    growth = ScaleUpMonitor(spark, task.training, ranks, stop)

    def dispatch(event: Event) -> None:
        watch.heartbeat(event)
        match event:
            case Failure():
                failures.append(event)
            case CheckpointSaved():
                saved.append(event.epoch)
                growth.look()
            case _:
                handle(event)

    receiver = EventServer(*driver_addresses(spark), dispatch, on_failure=stop.set)
    output = RankOutput()
    results, problem = [], None
    # Horovod's function would permanently replace the process's signal handlers.
    register, gloo_run.register_shutdown_event = gloo_run.register_shutdown_event, lambda: stop
    try:
        with output.with_thread_failures(), interruptible(stop.set, patience=_STOP_SECONDS), watch:
            results = horovod.spark.run(
                run_rank,
                args=(task, receiver.address, work),
                num_proc=ranks,
                start_timeout=START_SECONDS,
                use_gloo=True,
                nics={_loopback_interface()} if local else None,
                stdout=output,
                stderr=output,
                verbose=0,
                env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3", **horovod_environment(task.training.horovod)},
                executable=context.pythonExec,  # of the executors, where the driver's may not exist
            )
    except Exception as error:
        problem = error
    finally:
        gloo_run.register_shutdown_event = register
        receiver.close()
    ended = problem is not None or results[0] is None  # Horovod may report stopped ranks as finished
    if ended and watch.stalled:
        raise RankFailure(f"no rank made progress for {watch.limit:g} s (training.stall_timeout)") from problem
    if ended and growth.wanted and not any(failure.kind for failure in failures):
        raise ScaleUp from problem
    try:
        _raise_failure(failures, output, problem)
    except RankFailure as failure:
        failure.progressed = bool(saved)
        raise
    if ended:
        raise RankFailure("rank 0 ended without a result", output.tail())
    result: T = results[0]
    return result


def _loopback_interface() -> str:
    """Return the name of the network interface of 127.0.0.1: ``lo`` on Linux, ``lo0`` on macOS."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == _LOOPBACK for address in addresses):
            return name
    raise ClusterError(f"no network interface has the address {_LOOPBACK}; bring up the loopback interface")


def run_rank(task: TrainTask, address: Address, work: Work[T]) -> T | None:
    """Run the work of one rank in the process that Horovod started, and report failures to the driver."""
    sender = address.connect()
    try:
        ranks = HorovodRanks(task.training.horovod)
        sender.send(Started(ranks.rank, ranks.size, socket.gethostname(), os.getpid()))
        return work(task, ranks, sender.send)
    except Exception as error:
        sender.send(Failure.of(error))
        raise
    finally:
        sender.close()


def was_killed(text: str) -> bool:
    """Return whether Horovod's or Spark's message says that a process was ended by signal 9 (exit status 137)."""
    return _KILLED.search(text) is not None


def _raise_failure(failures: Sequence[Failure], output: RankOutput, cause: Exception | None) -> None:
    """Raise the error that a rank reported: one that the user can fix if there is one, else one with a traceback."""
    for failure in failures:
        if error := failure.error():
            raise error from None
    # When a rank dies, the others fail because it does not respond; those errors are only consequences.
    own = [failure.text for failure in failures if not _PEER_LOST.search(failure.text)]
    if own:
        raise RankFailure("a rank failed:", own[0], may_pass=False) from cause
    if cause is not None:
        if unreached := reported_problem(output.tail()):
            raise unreached from None
        if was_killed(f"{cause}\n{output.tail()}"):
            raise RankFailure(f"a rank was {OUT_OF_MEMORY}", output.tail(), killed=True) from cause
        reason = str(cause).strip().splitlines() or [type(cause).__name__]
        raise RankFailure(f"the ranks did not finish: {reason[0]}", output.tail()) from cause
