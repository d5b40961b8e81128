"""Spark's errors: the classes that it raises, and their reasons in one line."""

import re

from pyspark.errors import PySparkException

from convoy.errors import ClusterError

SPARK_ERRORS: tuple[type[Exception], ...] = (PySparkException,)
"""What Spark raises; a classic session raises some errors of its JVM as they are."""
try:
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]
except ImportError:  # a client of Spark Connect has no JVM
    pass
else:
    SPARK_ERRORS = (PySparkException, Py4JError)

INSTALL = "install the driver's versions on every worker, or ship its environment with --archives"
_REASONS = (
    re.compile(r'(Cannot run program "[^"]*": [^\n;]*)'),
    re.compile(r"(Python in worker has different version[^\n]*?)\.?(?:\n|$)"),
    re.compile(r"(Python versions in the Spark Connect client and server are different[^\n]*?)\.?(?:\n|$)"),
    re.compile(r"^[ \t]*((?!java|org\.)[\w.]+(?:Error|Exception): [^\n]*)", re.MULTILINE),  # Python's
)


def reason_of(text: str) -> str:
    """Return why a Python task could not run, from Spark's message about it."""
    found = next(filter(None, (pattern.search(text) for pattern in _REASONS)), None)
    return (found[1] if found else text.strip().partition("\n")[0])[:300]


def failed_job(text: str) -> ClusterError:
    """Return a one-line error from Spark's message about a task that could not run: no Python, or another version."""
    return ClusterError(
        f"an executor cannot run a Python task: {reason_of(text)}; {INSTALL}, and set PYSPARK_PYTHON to it"
    )
