"""A process that is told to do an epoch and says how long it took. Needs the standard library alone."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version


def serve(
    prepare: Callable[[], Callable[[], int | tuple[int, float]]], packages: Iterable[str], twice: bool = False
) -> None:
    """Do an epoch for each line on stdin, until it ends, and answer each with a line of JSON on stdout.

    Args:
        prepare: Returns what does an epoch, and returns the rows it saw, with its seconds if it knows them better.
        packages: Whose versions are of interest.
        twice: Do each epoch once before the one that is timed: Spark ends Python workers that were idle for a minute.
    """
    answers = own_stdout()
    epoch = prepare()
    versions = {name: version(name) for name in packages}
    for _ in sys.stdin:
        if twice:
            epoch()
        started = time.perf_counter()
        rows = epoch()
        seconds = time.perf_counter() - started
        if isinstance(rows, tuple):
            rows, seconds = rows
        print(json.dumps({"seconds": seconds, "rows": rows, "versions": versions}), file=answers, flush=True)


def own_stdout():
    """Return what stdout is, and send what libraries print there to stderr from now on."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers
