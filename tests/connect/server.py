"""A server of Spark Connect, as a process of its own: ``python -m tests.connect.server PORT``."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.spark_support import QUICK

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def environment(pyspark=None, **more):
    """Return the variables of this process, with its module path, and without those of its Spark.

    Args:
        pyspark: Folder with another PySpark.
        more: Further variables.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
    path = os.pathsep.join(map(str, filter(None, [pyspark, *sys.path])))
    return {**kept, "PYTHONPATH": path, "PYSPARK_PYTHON": sys.executable, **more}


def other_pyspark(version):
    """Return a folder with another PySpark, installed if it is not there; None if it cannot be installed."""
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"convoy-pyspark-{version}"
    if not (folder / "pyspark" / "version.py").exists():
        command = [
            Path(sys.executable).with_name("uv"),
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--python",
            sys.executable,
        ]
        try:
            subprocess.run(
                [*map(str, command), "--target", str(folder), f"pyspark=={version}.*", "py4j"],
                capture_output=True, timeout=600, check=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return None
    return folder


@contextlib.contextmanager
def connect_server(folder, pyspark=None, **variables):
    """Start a server whose workers are on this machine; yields its address. Arguments as for ``environment``."""
    port, log = free_port(), folder / "server.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "tests.connect.server", str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True, cwd=folder,
            env=environment(pyspark, **variables),
        ) as process,
    ):  # fmt: skip
        try:
            assert process.stdout.readline() == "ready\n", log.read_text()
            yield f"sc://127.0.0.1:{port}"
        finally:
            process.stdin.close()
            process.wait(timeout=120)


def main(port):
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    from convoy.cluster import spark

    spark._choose_java()
    log4j = Path(spark.__file__).with_name("log4j2.properties").as_uri()
    conf = SparkConf().setMaster("local[2]").setAppName("connect server")
    for name, value in {
        "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": port,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.extraJavaOptions": f"{QUICK} -Dlog4j2.configurationFile={log4j}",
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }.items():
        conf.set(name, value)
    SparkSession(SparkContext.getOrCreate(conf))
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
