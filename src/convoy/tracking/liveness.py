"""Whether the driver of a run still exists: one that is killed cannot end its run, which stays RUNNING in MLflow."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil

DRIVER, HEARTBEAT = "convoy.driver", "convoy.heartbeat"
LOST = "LOST"
"""Shown in place of RUNNING for a run whose driver does not exist any more."""

_BEAT_SECONDS = 60.0
_SILENT_SECONDS = 600.0  # after which the driver of another machine counts as lost
_SAME_START_SECONDS = 2.0


def tags() -> dict[str, str]:
    """Return the tags that identify this process as the driver of a run."""
    own = psutil.Process()
    driver = {"host": socket.gethostname(), "pid": own.pid, "started": own.create_time(), "machine": _machine()}
    return {DRIVER: json.dumps(driver), HEARTBEAT: _now()}


def is_lost(status: str, tags: Mapping[str, str]) -> bool:
    """Return whether a run counts as running although its driver does not exist any more.

    On this machine the process is looked for. A driver on another one is lost if it has been silent for ten minutes.

    Args:
        status: MLflow's status of the run.
        tags: Tags of the run; those of runs that other tools have opened say nothing about their driver.
    """
    if status != "RUNNING":
        return False
    driver = _driver(tags)
    if driver is None:
        return False
    if driver["machine"] == _machine():
        return not _exists(driver)
    try:
        return time.time() - int(tags[HEARTBEAT]) / 1000 > _SILENT_SECONDS
    except (KeyError, ValueError):
        return False


def other_driver(status: str, tags: Mapping[str, str]) -> int | None:
    """Return the process id of a run's driver if it is another process of this machine that still exists."""
    driver = _driver(tags)
    if status != "RUNNING" or driver is None or driver["machine"] != _machine() or driver["pid"] == os.getpid():
        return None
    return int(driver["pid"]) if _exists(driver) else None


@contextmanager
def heartbeat(client: Any, run_id: str) -> Iterator[None]:
    """Set the time in a tag of a run every minute inside the block; a store that does not answer is not waited for.

    Args:
        client: MLflow's client.
        run_id: The run.
    """
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(_BEAT_SECONDS):
            with contextlib.suppress(Exception):
                client.set_tag(run_id, HEARTBEAT, _now())

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
    try:
        yield
    finally:
        stop.set()


def _now() -> str:
    return str(round(time.time() * 1000))


def _driver(tags: Mapping[str, str]) -> dict[str, Any] | None:
    try:
        driver = json.loads(tags[DRIVER])
        return {name: driver[name] for name in ("pid", "started", "machine")}
    except (KeyError, ValueError, TypeError):
        return None


def _exists(driver: Mapping[str, Any]) -> bool:
    try:
        process = psutil.Process(int(driver["pid"]))
        same = abs(process.create_time() - float(driver["started"])) < _SAME_START_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError, TypeError):
        return False


def _machine() -> str:
    """Return what identifies the machine since it was started, and within it the container."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not on Linux
        return f"{socket.gethostname()} {psutil.boot_time():.0f}"
