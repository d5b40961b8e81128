"""Contenders as processes of their own, with bounded time: nothing that hangs is waited for, or left behind."""

import functools
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import psutil
from environments import HERE, PeerError

_ENVIRONMENT = {"PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3", "SPARK_LOCAL_IP": "127.0.0.1"}


class Contender:
    """A script that is started once and answers each line with a line of JSON (see ``epochs.serve``).

    Args:
        python: Of its environment.
        script: Its name, in this folder.
        arguments: Its arguments.
        timeout: Seconds for one answer, the start included.
    """

    def __init__(self, python: Path | str, script: str, *arguments: object, timeout: float = 600) -> None:
        self.name, self._timeout = script.removesuffix(".py"), timeout
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed on exit)
        self._process = subprocess.Popen(
            [str(python), str(HERE / script), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            bufsize=1,
            env={**os.environ, **_ENVIRONMENT},
        )

    def ask(self) -> dict:
        """Let it do its work once.

        Raises:
            PeerError: It does not answer in time, or has ended.
        """
        try:
            print("go", file=self._process.stdin, flush=True)
            if not select.select([self._process.stdout], [], [], self._timeout)[0]:
                raise PeerError(f"{self.name}: no answer after {self._timeout:g} s")
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerError(f"{self.name}: {self._last_words()}")
        return json.loads(line)

    def __enter__(self) -> "Contender":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Let it end by itself, for a while."""
        try:
            self._process.communicate(timeout=20)  # closes its stdin, which is the end
        except (subprocess.TimeoutExpired, BrokenPipeError):
            kill_tree(self._process.pid)
            self._process.wait()
        self._stderr.close()

    def _last_words(self) -> str:
        try:
            status = f"exit status {self._process.wait(20)}"
        except subprocess.TimeoutExpired:
            status = "it closed its stdout"
        return f"{status}: {last_line(self._stderr)}"


@functools.cache
def loopback_only() -> tuple[str, ...]:
    """What to put before a command so that it sees the loopback interface alone; empty where Linux does not let us.

    The servers of Horovod and of ``MultiWorkerMirroredStrategy`` listen on all interfaces, whatever they are told.
    """
    prefix = ("unshare", "--map-root-user", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    try:
        return prefix if subprocess.run([*prefix, "true"], capture_output=True, timeout=20).returncode == 0 else ()
    except (OSError, subprocess.TimeoutExpired):
        return ()


def run_once(script: str, *arguments: object, python: Path | str = sys.executable, timeout: float = 900) -> dict:
    """Start a script of this folder and return the JSON of its last line; raises as ``run_command`` does."""
    return run_command([str(python), str(HERE / script), *map(str, arguments)], timeout)


def run_command(command: Sequence[str], timeout: float, cwd: Path | None = None) -> dict:
    """Wait until a command ends and return the JSON of its last line.

    Raises:
        PeerError: It fails, or does not end in time and was killed.
    """
    name = Path(command[1]).name
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*loopback_only(), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=cwd,
            env={**os.environ, **_ENVIRONMENT},
        )
        try:
            stdout, _ = process.communicate(timeout=timeout)
        except BaseException as error:
            kill_tree(process.pid)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise PeerError(f"{name}: not done after {timeout:g} s") from None
            raise
        if process.returncode:
            raise PeerError(f"{name}: exit status {process.returncode}: {last_line(errors)}")
    return json.loads(stdout.splitlines()[-1])


def last_line(errors: IO[bytes]) -> str:
    """The last thing that a process said."""
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"


def kill_tree(pid: int) -> None:
    """Kill a process and all below it, each by its number."""
    try:
        process = psutil.Process(pid)
        family = [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
