"""Time per step, measured on every rank: waiting for data, waiting for the other ranks, and computing."""

import random
import resource
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import psutil
import tensorflow as tf

from convoy.dataset.reading.epoch_plan import rank_slice
from convoy.training.checkpoint.step_counter import StepCounter
from convoy.training.distributed.collective import Collective
from convoy.training.events import Emit, RankEpoch, System

_MEASURED_STEPS = 16  # of an epoch, at which communication is measured, for about 0.4 ms each
_SAMPLE_SECONDS = 10.0  # between samples of the machine, as in MLflow


class Stopwatch:
    """Sums the seconds that parts of a graph take, at the steps for which it is switched on.

    TensorFlow rejects ``tf.timestamp`` with deterministic operations, so the graph calls Python for the time. Because
    these calls take time, the stopwatch can be switched off; their duration is measured too, between two calls with no
    work, and subtracted.

    Attributes:
        seconds: The sum.
    """

    def __init__(self) -> None:
        self.seconds, self._marks, self._is_on = 0.0, list[float](), False
        with tf.device("CPU:0"):
            self._on = tf.Variable(False, trainable=False)

    def switch(self, on: bool) -> None:
        """Switch the measurements that ``around`` has built on or off."""
        if on != self._is_on:
            self._is_on = on
            self._on.assign(on)

    def around(self, inputs: Sequence[Any], work: Callable[[], Any]) -> Any:
        """Return the results of ``work()``, measured from when all ``inputs`` are available until all results are.

        The results are not changed. On a GPU a tensor counts as available once its kernel is queued.

        Args:
            inputs: Input tensors of the work; None for a missing tensor.
            work: Returns tensors, nested in any way.
        """
        with tf.control_dependencies(_present(inputs)):
            begun = self._mark(3)
        with tf.control_dependencies([begun]):
            results = work()
        flat = tf.nest.flatten(results)
        with tf.control_dependencies(_present(flat)):
            ended = self._mark(1)
        with tf.control_dependencies([ended]):  # otherwise later operations could run first, and be measured too
            flat = [None if tensor is None else tf.identity(tensor) for tensor in flat]
        return tf.nest.pack_sequence_as(results, flat)

    def _mark(self, count: int) -> tf.Tensor:
        def call() -> tf.Tensor:
            last: list[Any] = []
            for _ in range(count):
                with tf.control_dependencies(last):
                    last = _present([tf.numpy_function(self._take_mark, [], [])])
            with tf.control_dependencies(last):
                return tf.constant(True)

        return tf.cond(self._on, call, lambda: tf.constant(False))

    def _take_mark(self) -> None:
        self._marks.append(time.perf_counter())
        if len(self._marks) == 4:
            _, ready, begun, ended = self._marks  # before the second one, the thread may have run other kernels
            self.seconds += (ended - begun) - (begun - ready)
            self._marks.clear()


def _present(tensors: Sequence[Any]) -> list[Any]:
    return [tensor for tensor in tensors if tensor is not None]


@dataclass
class Fetching:
    """The time that steps have waited for their batches, in seconds."""

    seconds: float = 0.0


def time_fetches(model: keras.Model) -> Fetching:
    """Make ``fit`` measure how long each step waits for its batch, and return the measurement.

    Keras fetches the batch inside its compiled train function, so callbacks cannot measure it. This replaces the train
    function with one that fetches the batch and then calls the compiled ``train_step``. Call it after ``compile``; it
    supports one step per call, and no ``tf.distribute`` strategy.
    """
    fetching = Fetching()
    step: Callable[[Any], Any] | None = None

    def fetch_and_step(iterator: Any) -> Any:
        nonlocal step
        if step is None:  # one graph for batches of any size, as in Keras
            train_step = tf.autograph.experimental.do_not_convert(model.train_step)
            step = tf.function(train_step, input_signature=[iterator.element_spec])
        begun = time.perf_counter()
        batch = iterator.get_next()
        fetching.seconds += time.perf_counter() - begun
        return step(batch)

    model.train_function = fetch_and_step
    return fetching


class Timing(keras.callbacks.Callback):
    """Emits a ``RankEpoch`` event with each epoch's measurements of this rank, and ``System`` events of its machine.

    Times cover training only: from the beginning of the epoch to the end of its last step, without validation.
    Communication is measured at some of the steps, chosen at random for each epoch. Add it after ``GlobalMetrics``.

    Args:
        emit: Takes an event; called on every rank.
        collective: The ranks.
        rows: Samples of the training split.
        global_batch: Samples per step, over all ranks.
        position: Kept by ``StepCounterCallback``.
        fetching: Time that steps wait for data (``time_fetches``).
        communication: Time to average the gradients (``optimizer.distribute``).
    """

    def __init__(
        self,
        emit: Emit,
        collective: Collective,
        rows: int,
        global_batch: int,
        position: StepCounter,
        fetching: Fetching,
        communication: Stopwatch,
    ) -> None:
        super().__init__()
        self.emit, self.rank, self.size = emit, collective.rank, collective.size
        self.rows, self.global_batch, self.position = rows, global_batch, position
        self.fetching, self.communication = fetching, communication
        self.images, self.ends = 0, array("d")
        self.chosen: set[int] = set()
        self.measured = 0
        self.sampled = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        """Start the machine's clocks."""
        psutil.cpu_percent()  # counts from the call before
        self.sampled = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the epoch's clocks."""
        # Not the first step, which ranks reach after other work, or tracing: it is not representative.
        steps = self.position.steps
        candidates = range(min(self.position.step + 2, steps - 1), steps)
        self.chosen = set(random.Random(epoch).sample(candidates, min(len(candidates), _MEASURED_STEPS)))
        self.measured = 0
        self.fetching.seconds = self.communication.seconds = 0.0
        self.images, self.ends = 0, array("d", [time.monotonic()])

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Switch the measurement of communication on or off for this step."""
        chosen = self.position.step in self.chosen
        self.measured += chosen
        self.communication.switch(chosen)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Record the time."""
        left = self.rows - self.position.step * self.global_batch
        own = rank_slice(min(self.global_batch, left), self.rank, self.size)
        self.images += own.stop - own.start
        self.ends.append(time.monotonic())
        self._sample_if_due()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Sample the machine during long validations too."""
        self._sample_if_due()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Emit the epoch's measurements."""
        if len(self.ends) == 1:
            return
        communicating = self.communication.seconds / max(1, self.measured)
        metrics = times(self.ends, self.images, self.fetching.seconds, communicating) | memory()
        self.emit(RankEpoch(epoch, self.rank, self.size, metrics))

    def on_train_end(self, logs: Any = None) -> None:
        """Sample the machine, so that a short run has a sample too."""
        self._sample()

    def _sample_if_due(self) -> None:
        if time.monotonic() - self.sampled >= _SAMPLE_SECONDS:
            self._sample()

    def _sample(self) -> None:
        self.sampled = time.monotonic()
        self.emit(System(self.rank, machine()))


def times(ends: Sequence[float], images: int, fetching: float, communicating: float) -> dict[str, float]:
    """Return an epoch's times of one rank.

    Args:
        ends: Clock times in seconds: the beginning of the epoch, then the end of each of its steps (at least one).
        images: Samples of this rank in these steps.
        fetching: Seconds within these steps that the rank waited for data.
        communicating: Seconds of communication per step, estimated.
    """
    seconds, steps = max(ends[-1] - ends[0], 1e-9), np.diff(ends)
    waiting = min(1.0, fetching / seconds)
    return {
        "images_per_second": images / seconds,
        "step_ms": 1000 * float(np.median(steps)),
        "step_ms_p95": 1000 * float(np.quantile(steps, 0.95)),
        "data_wait_share": waiting,
        "communication_share": min(1.0 - waiting, max(0.0, communicating) * len(steps) / seconds),
    }


def memory() -> dict[str, float]:
    """Return the memory of this process in MB (10^6 bytes): currently resident, and at its peak."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    resident = psutil.Process().memory_info().rss
    return {"memory_mb": resident / 1e6, "memory_peak_mb": max(peak, resident) / 1e6}


def machine() -> dict[str, float]:
    """Return the machine's CPU utilisation since the last call, and its memory in use now, under MLflow's names."""
    return {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": psutil.virtual_memory().used / 1e6,
    }
