"""A training as processes that can be found, waited for and ended. All waits are bounded."""

import contextlib
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 180  # until a training has done some epochs
_MARK = "CONVOY_CHAOS"  # environment variable by which a training's processes are known, whatever their parents are
_ORPHAN_SECONDS = 30  # that processes have to end after their driver


class Broken(Exception):
    """A round did not end as it has to."""


class Training:
    """A ``jobs/train.py`` as a process, with its log.

    Args:
        folder: Where it works; its log is appended to.
        arguments: Of the command, after the common ones.
        environment: More variables.
    """

    def __init__(self, folder: Path, arguments: Sequence[str], environment: dict[str, str] | None = None) -> None:
        self.mark, self.log = uuid.uuid4().hex, folder / "log.txt"
        self.started = time.monotonic()
        self.begin = self.log.stat().st_size if self.log.exists() else 0
        command = [sys.executable, str(ROOT / "jobs" / "train.py"), "--config", str(ROOT / "conf" / "digits.yaml")]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **(environment or {}), _MARK: self.mark},
            )

    def text(self) -> str:
        """What it has printed."""
        return self.log.read_bytes()[self.begin :].decode(errors="replace")

    def epochs(self) -> int:
        """The last epoch that it has reported, from 1."""
        return max((int(number) for number in re.findall(r"^epoch (\d+)/", self.text(), re.MULTILINE)), default=0)

    def wait_for_epoch(self, epoch: int) -> None:
        """Wait until an epoch is done."""
        wait(lambda: self.epochs() >= epoch or self.process.poll() is not None, START_SECONDS, f"epoch {epoch}")
        if self.process.poll() is not None:
            raise Broken(f"it ended with status {self.process.returncode} before the fault")

    def processes(self) -> list[psutil.Process]:
        """Its processes that run: the driver, JVMs, Spark's workers, ranks."""
        return [process for process in psutil.process_iter() if self._is_of_it(process)]

    def _is_of_it(self, process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(_MARK) == self.mark
        except psutil.Error:
            return False

    def with_argument(self, argument: str) -> list[psutil.Process]:
        """Its processes that have this argument."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if argument in process.cmdline():
                    found.append(process)
        return sorted(found, key=lambda process: process.pid)

    def wait(self, seconds: float) -> float:
        """Wait for its end, successful and with nothing left running; returns the seconds to the driver's end."""
        started = time.monotonic()
        wait(lambda: self.process.poll() is not None, seconds, "the end of the training")
        taken = time.monotonic() - started
        self.wait_for_orphans()
        if self.process.returncode != 0:
            raise Broken(f"it ended with status {self.process.returncode}")
        return taken

    def wait_for_orphans(self) -> float:
        """Wait until none of its processes runs; returns the seconds."""
        started = time.monotonic()
        wait(lambda: not self.processes(), _ORPHAN_SECONDS, "its processes to end")
        return time.monotonic() - started

    def end(self) -> None:
        """Kill whatever is left of it."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait()

    def resumed(self) -> str:
        """Say where it went on; raise ``Broken`` unless it did from a checkpoint."""
        found = re.search(r"resuming from the checkpoint in (epoch \d+, after step \d+)", self.text())
        if not found:
            raise Broken("it did not go on from a checkpoint")
        return f"went on in {found[1]}"


def wait(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for a condition, raise ``Broken`` when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Broken(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)
