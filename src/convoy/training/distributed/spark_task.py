"""A whole training in a fresh process of one Spark task; several of them can run at the same time.

``OnTask`` is the driver's side. The process runs this module as a program (see ``fresh_process``). It exits immediately
when the driver closes the connection or exits, and when the task ends.
"""

import os
import pickle
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable

from pyspark.sql import SparkSession

from convoy.cluster.connectivity import reported_problem
from convoy.cluster.spark import driver_addresses
from convoy.errors import TrainingStopped
from convoy.training.distributed.collective import SingleProcess
from convoy.training.distributed.event_channel import Address, EventServer
from convoy.training.distributed.fresh_process import FreshProcess
from convoy.training.distributed.launch import OUT_OF_MEMORY, RankFailure
from convoy.training.distributed.watchdog import Watchdog
from convoy.training.events import Emit, Event, Failure, Started, TaskBegun
from convoy.training.loop import TrainedModel, TrainTask, train

_SHA256 = 64  # letters, before the file
_KILL_SECONDS = 10.0
_ALL_CANCELLED = "as part of cancellation of all jobs"


class OnTask:
    """Trainer like ``launch.launch``, but on one Spark task; several threads may call it at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, tuple[SparkSession, EventServer]] = {}
        self._stopped = False

    def __call__(self, spark: SparkSession, task: TrainTask, handle: Emit) -> TrainedModel:
        """Train on one Spark task and return the trained model.

        Args:
            spark: The session.
            task: The training.
            handle: Takes the training's events, in a separate thread. An exception stops the training,
                and is raised again.

        Raises:
            TrainingStopped: ``stop`` was called, or all of Spark's jobs were cancelled.
            ConvoyError: The training raised an error that the user can fix.
            RankFailure: The training hung for ``task.training.stall_timeout`` seconds, or its process ended for another
                reason.
        """
        failures: list[Failure] = []

        def dispatch(event: Event) -> None:
            watch.heartbeat(event)
            match event:
                case TaskBegun():
                    pass
                case Failure():
                    failures.append(event)
                case _:
                    handle(event)

        def give_up() -> None:
            receiver.hang_up()  # the task kills the process, unless its machine hangs
            if not ended.wait(_KILL_SECONDS):
                context.cancelJobGroup(group)

        context, problem, outcome, ended = spark.sparkContext, None, None, threading.Event()
        watch = Watchdog(task.training.stall_timeout, give_up, begun=False)
        receiver = EventServer(*driver_addresses(spark), dispatch, on_failure=lambda: receiver.hang_up())
        group = f"convoy-{uuid.uuid4().hex}"
        with self._lock:
            self._running[group] = spark, receiver
        try:
            self._check()
            context.setJobGroup(group, "a training in a separate process", interruptOnCancel=True)
            process = FreshProcess(__name__, pickle.dumps((task, receiver.address)), receiver.address)
            with watch:
                try:
                    (outcome,) = context.parallelize([0], 1).mapPartitions(process).collect()
                finally:
                    ended.set()
        except TrainingStopped:
            raise
        except Exception as error:
            self._stopped |= _ALL_CANCELLED in str(error)
            problem = error
        finally:
            with self._lock:
                del self._running[group]
            receiver.close()
        if outcome is None or outcome.status:
            self._check()
            if watch.stalled:
                raise RankFailure(f"the training made no progress for {watch.limit:g} s (training.stall_timeout)")
        for failure in failures:
            raise failure.error() or RankFailure("the training failed:", failure.text, may_pass=False)
        if unreached := reported_problem(str(problem) if outcome is None else outcome.tail):
            raise unreached
        if outcome is None:
            reason = str(problem).strip().splitlines() or [type(problem).__name__]
            raise RankFailure(f"the training did not finish: {reason[0]}") from problem
        if outcome.status in (-signal.SIGKILL, 128 + signal.SIGKILL):
            raise RankFailure(f"the training's process was {OUT_OF_MEMORY}", outcome.tail, killed=True)
        if outcome.status or not outcome.result:
            raise RankFailure(f"the training's process ended with exit status {outcome.status}", outcome.tail)
        return TrainedModel(outcome.result[_SHA256:], outcome.result[:_SHA256].decode())

    def stop(self) -> None:
        """Stop all trainings, including those that are about to start."""
        self._stopped = True
        with self._lock:
            running = list(self._running.items())
        for group, (spark, receiver) in running:
            receiver.hang_up()
            spark.sparkContext.cancelJobGroup(group)

    def _check(self) -> None:
        if self._stopped:
            raise TrainingStopped("interrupted")


def main() -> None:
    """Run the training described on stdin; write the result to stdout, and send events and failures to the driver."""
    result = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries may print to stdout
    task, address = pickle.load(sys.stdin.buffer)
    _end_after(sys.stdin.buffer.read)
    _train(task, address, result.write)
    result.close()
    os._exit(0)  # skips TensorFlow's shutdown, which takes a second


def _train(task: TrainTask, address: Address, write: Callable[[bytes], object]) -> None:
    sender = address.connect()
    _end_after(sender.wait)
    try:
        sender.send(Started(0, 1, socket.gethostname(), os.getpid()))
        trained = train(task, SingleProcess(), sender.send)
        assert trained is not None
        write(trained.weights_sha256.encode() + trained.keras_file)
    except Exception as error:
        sender.send(Failure.of(error))
        os._exit(1)


def _end_after(wait: Callable[[], object]) -> None:
    """Exit this process immediately when ``wait`` returns."""

    def watch() -> None:
        wait()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
