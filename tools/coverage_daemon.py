"""The daemon of Spark's Python workers for `make coverage`: a worker saves what it measured after each task.

Workers are forked, serve many tasks, and are killed at the end. Spark starts this module instead of its own if
``spark.python.daemon.module`` names it.
"""

from typing import Any

from coverage import Coverage
from pyspark import daemon

_run_task = daemon.worker


def run_task(*arguments: Any) -> Any:
    """Run a task as Spark does, then save."""
    try:
        return _run_task(*arguments)
    finally:
        measured = Coverage.current()
        if measured is not None:
            measured.save()


if __name__ == "__main__":
    daemon.worker = run_task  # type: ignore[assignment]
    daemon.manager()
