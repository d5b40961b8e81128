"""PySpark's daemon for a local master, whose workers begin a task in 5 ms instead of 80.

Started by Spark as ``python -m convoy.spark_daemon`` (``spark.python.daemon.module``). PySpark 3.5 loses that time in
three places, before and between the tasks of a worker:

* it invalidates all import caches, at which Python reads the table of ``pyspark.zip`` again (mended in Spark 4.2,
  SPARK-54744);
* it collects garbage, which walks through everything that was ever imported;
* the JVM sends a task in two parts, and by Nagle's algorithm the second one waits until the first is acknowledged,
  which the kernel delays by 40 ms.

With a local master, the user sees what a worker prints. Horovod's threads in it, which read what ranks print, fail with
a traceback when ranks are ended on purpose; that is left out.
"""

import gc
import os
import socket
import sys
import threading
import zipimport
from typing import BinaryIO

import pandas  # noqa: F401 - before the fork, so that no worker has to: every Arrow task needs it
import pyarrow  # noqa: F401
from pyspark import daemon, worker

_FREEZES = 2  # tasks after which what they have imported is taken out of the collector's sight


class _Imports:
    """Stands in for ``importlib`` in ``pyspark.worker``, which calls one function of it, after the first part."""

    def __init__(self) -> None:
        self.infile: BinaryIO | None = None

    def invalidate_caches(self) -> None:
        """Invalidate the caches of folders, not of archives; acknowledge the first part of the task."""
        for finder in list(sys.path_importer_cache.values()):
            if finder is not None and not isinstance(finder, zipimport.zipimporter):
                finder.invalidate_caches()  # type: ignore[attr-defined]
        if self.infile is not None and hasattr(socket, "TCP_QUICKACK"):
            with socket.socket(fileno=os.dup(self.infile.fileno())) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class _Worker:
    """Stands in for ``pyspark.worker.main`` in the daemon."""

    def __init__(self, imports: _Imports) -> None:
        self.imports, self.tasks = imports, 0

    def __call__(self, infile: BinaryIO, outfile: BinaryIO) -> None:
        self.imports.infile = infile
        worker.main(infile, outfile)
        self.tasks += 1
        if self.tasks <= _FREEZES:
            gc.collect()
            gc.freeze()


def quiet_readers(failure: threading.ExceptHookArgs) -> None:
    """Stand in for ``threading.excepthook``: say nothing of Horovod's threads whose pipe was closed."""
    if not (isinstance(failure.exc_value, RuntimeError) and str(failure.exc_value) == "Pipe is closed"):
        threading.__excepthook__(failure)


def main() -> None:
    """Serve until Spark closes the standard input."""
    imports = _Imports()
    worker.importlib = imports  # type: ignore[assignment]
    daemon.worker_main = _Worker(imports)
    threading.excepthook = quiet_readers
    gc.freeze()
    daemon.manager()


if __name__ == "__main__":
    main()
