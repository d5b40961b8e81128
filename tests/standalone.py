"""A Spark cluster of its own: a standalone master and workers, as processes."""

import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyspark

from convoy.cluster.spark import find_java
from tests.spark_support import QUICK

SPARK = Path(pyspark.__file__).parent


@dataclass(frozen=True)
class Host:
    """Where processes run.

    Attributes:
        address: That others reach it at.
        enter: What a command begins with to run there.
    """

    address: str = "127.0.0.1"
    enter: tuple[str, ...] = ()


LOOPBACK = Host()


class Cluster:
    """The master; workers of one slot each are added.

    Args:
        folder: For the log, and for the workers' files.
        environment: What the processes see beside what they need; None for all that this one sees.
        host: Of the master.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None, host: Host = LOOPBACK) -> None:
        self.folder, self.processes = folder, list[subprocess.Popen]()
        own = {"SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": QUICK}
        if home := find_java(os.environ):
            own["JAVA_HOME"] = home
        self.environment = {**(os.environ if environment is None else environment), **own}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.master = f"spark://{host.address}:{port}"
        self._start(host, "master.Master", "--port", str(port))

    def add_worker(self, memory="512m", host=LOOPBACK):
        return self._start(host, "worker.Worker", "-c", "1", "-m", memory, "--work-dir", str(self.folder), self.master)

    def _start(self, host, name, *arguments):
        options = ("--host", host.address, "--webui-port", "0")
        command = [str(SPARK / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *options, *arguments]
        environment = {**self.environment, "SPARK_LOCAL_IP": host.address}
        with (self.folder / "cluster.log").open("a") as log:
            process = subprocess.Popen(
                [*host.enter, *command], env=environment, cwd=self.folder, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def end(self):
        family = [child for process in self.processes for child in children(process)]
        for process in reversed(self.processes):
            process.kill()
            process.wait(timeout=60)
        for child in psutil.wait_procs(family, timeout=10)[1]:
            child.kill()


def children(process):
    return psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
