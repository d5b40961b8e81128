"""A process of its own within a Spark task: Python workers are used again, TensorFlow is set up once per process.

The task's side; it imports nothing that trains, so that the worker stays small.
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

_TAIL = 20_000


@dataclass(frozen=True)
class Outcome:
    """What a process left.

    Attributes:
        status: Its exit status; negative where a signal ended it.
        result: What it wrote to stdout.
        tail: The end of what it wrote to stderr.
    """

    status: int
    result: bytes
    tail: str


@dataclass(frozen=True)
class FreshProcess:
    """Runs ``python -m <module>`` in a Spark task; one partition is one process.

    The process has the payload on stdin, which stays open for as long as the task lives: whoever reads its end knows
    that the task is gone.

    It is killed when the driver hangs up, or is gone: a process that is stopped, or stuck, would not end by itself.

    Attributes:
        module: What to run.
        payload: Its input.
        address: Where the driver learns that the task has begun, by an event ``begun``, and hangs up.
    """

    module: str
    payload: bytes
    address: Address

    def __call__(self, partition: Iterable[Any]) -> Iterator[Outcome]:
        """Run it, and yield what it left."""
        context = TaskContext.get()
        gpus = context.resources()["gpu"].addresses if context and "gpu" in context.resources() else None
        driver = self.address.connect()
        try:
            driver.send({"type": "begun"})
            yield run(self.module, self.payload, environment(os.environ, sys.path, gpus), driver.wait)
        finally:
            driver.close()


def environment(own: Mapping[str, str], path: Iterable[str], gpus: Iterable[str] | None) -> dict[str, str]:
    """Return the environment of the process.

    Args:
        own: That of the task.
        path: Where the task finds modules: it may have got some that the environment does not name.
        gpus: Addresses of the GPUs that Spark gave to the task; None where it gives none.
    """
    visible = {} if gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
    return {**own, "PYTHONPATH": os.pathsep.join(filter(None, path)), "TF_CPP_MIN_LOG_LEVEL": "3", **visible}


def run(module: str, payload: bytes, env: Mapping[str, str], wait: Callable[[], object] | None = None) -> Outcome:
    """Run a module as a process, to its end, or until ``wait`` returns."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-m", module], stdin=pipe, stdout=pipe, stderr=pipe, env=env) as process:
        if wait is not None:
            threading.Thread(target=_kill_after, args=(wait, process), daemon=True).start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            said = _Tail(process.stderr)
            with contextlib.suppress(BrokenPipeError):  # it ended at once, and its status says so
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
