"""A separate process within a Spark task: Spark reuses Python workers, but TensorFlow is set up once per process.

This is the task's side; it imports no training code, so that the worker stays small.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyspark import TaskContext

from convoy.training.distributed.event_channel import Address
from convoy.training.distributed.horovod_env import without_tracking
from convoy.training.events import TaskBegun

_TAIL = 20_000


@dataclass(frozen=True)
class Outcome:
    """The outcome of a process.

    Attributes:
        status: Exit status; negative if a signal ended the process.
        result: Its output on stdout.
        tail: The end of its output on stderr.
    """

    status: int
    result: bytes
    tail: str


@dataclass(frozen=True)
class FreshProcess:
    """Runs ``python -m <module>`` in a Spark task; one partition is one process.

    The process gets the payload on stdin, which stays open while the task runs: end of file means that the task has
    ended.

    It is killed when the driver closes the connection or exits: a process that is stopped, or hangs, would not exit.

    Attributes:
        module: Module to run.
        payload: Input of the process.
        address: Address of the driver, to which the task sends ``TaskBegun``, and which closes the connection to
            end the process.
    """

    module: str
    payload: bytes
    address: Address

    def __call__(self, partition: Iterable[Any]) -> Iterator[Outcome]:
        """Run the process, and yield its outcome."""
        context = TaskContext.get()
        gpus = context.resources()["gpu"].addresses if context and "gpu" in context.resources() else None
        driver = self.address.connect()
        try:
            driver.send(TaskBegun())
            yield run(self.module, self.payload, environment(os.environ, sys.path, gpus), driver.wait)
        finally:
            driver.close()


def environment(own: Mapping[str, str], path: Iterable[str], gpus: Iterable[str] | None) -> dict[str, str]:
    """Return the environment of the process.

    Args:
        own: Environment of the task.
        path: Module search path of the task, which may contain folders that the environment does not name.
        gpus: Addresses of the GPUs that Spark assigned to the task; None if it assigns none.
    """
    visible = {} if gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
    return {
        **without_tracking(own),
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **visible,
    }


def run(module: str, payload: bytes, env: Mapping[str, str], wait: Callable[[], object] | None = None) -> Outcome:
    """Run a module as a process until it exits or ``wait`` returns, and return its outcome."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-m", module], stdin=pipe, stdout=pipe, stderr=pipe, env=env) as process:
        if wait is not None:
            threading.Thread(target=_kill_after, args=(wait, process), daemon=True).start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            said = _Tail(process.stderr)
            with contextlib.suppress(BrokenPipeError):  # it exited at once; its status shows that
                process.stdin.write(payload)
                process.stdin.flush()
            result = process.stdout.read()
            status = process.wait()
            return Outcome(status, result, said.text())
        finally:
            process.kill()


def _kill_after(wait: Callable[[], object], process: "subprocess.Popen[bytes]") -> None:
    wait()
    process.kill()


class _Tail(threading.Thread):
    """Reads a stream and keeps its end."""

    def __init__(self, stream: Any) -> None:
        super().__init__(daemon=True)
        self._stream, self._kept = stream, b""
        self.start()

    def run(self) -> None:
        for line in self._stream:
            self._kept = (self._kept + line)[-_TAIL:]

    def text(self) -> str:
        self.join(timeout=5)
        return self._kept.decode(errors="replace")
