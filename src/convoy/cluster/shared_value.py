"""Values that tasks need and that are too large to send with each task, such as models.

A classic session broadcasts them. A session of Spark Connect has no broadcasts, and a value in the function of a task
would be part of the query plan, which the client sends again with each request. There the value is a file that is
uploaded once (an artifact of the session), which Spark copies to each executor.
"""

import functools
import hashlib
import os
import pickle
import tempfile
from typing import Any, Generic, Protocol, TypeVar

from pyspark.sql import SparkSession

from convoy.cluster.session_facts import is_connect

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Shared(Protocol[T_co]):
    """A value that tasks can read."""

    @property
    def value(self) -> T_co:
        """Return the value, loaded once per Python worker."""


def share(spark: SparkSession, value: T) -> Shared[T]:
    """Make a value available to tasks of a session.

    Args:
        spark: The session.
        value: Anything that can be pickled.

    Returns:
        What a task's function holds in place of the value.
    """
    return _uploaded(spark, value) if is_connect(spark) else spark.sparkContext.broadcast(value)


class Artifact(Generic[T]):
    """A pickled value in a file of a Connect session; tasks get the name of the file.

    Args:
        name: Name of the file; it has a hash of the content, since a session keeps the first file of a name.
        held: The value, on the client.
    """

    def __init__(self, name: str, held: T | None = None) -> None:
        self._name, self._held = name, held

    def __reduce__(self) -> tuple[type["Artifact[T]"], tuple[str]]:
        """Leave the value out."""
        return Artifact, (self._name,)

    @property
    def value(self) -> T:
        """Return the value, loaded once per Python worker."""
        return self._held if self._held is not None else _load(self._name)


@functools.lru_cache(maxsize=3)  # per Python worker: a query may have several models
def _load(name: str) -> Any:
    from pyspark import SparkFiles

    with open(SparkFiles.get(name), "rb") as file:
        return pickle.load(file)


def _uploaded(spark: SparkSession, value: T) -> Artifact[T]:
    content = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    name = f"convoy-{hashlib.sha256(content).hexdigest()[:32]}"
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(content)
        spark.addArtifacts(path, file=True)
    return Artifact(name, value)
