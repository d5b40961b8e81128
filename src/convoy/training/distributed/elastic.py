"""The number of ranks to start: ``num_workers``, or with ``training.elastic`` as many as Spark has slots for."""

import threading
import time

from pyspark.sql import SparkSession

from convoy.cluster.connect import classic_only
from convoy.cluster.session_facts import is_connect
from convoy.cluster.spark import slots, slots_now, too_few_slots
from convoy.config import TrainingConfig

# Spark's standalone scheduler still counts an executor for 5 s after it has disconnected
# (spark.standalone.executorRemoveDelayOnDisconnection).
SETTLE_SECONDS = 6.0
RETURN_SECONDS = 12.0  # for an executor to restart
_WAIT_SECONDS = 60.0


class ScaleUp(Exception):
    """The ranks were stopped because Spark can run more of them now."""


def world_size(available: int, most: int, fewest: int, waited: float, *, lost: bool) -> int | None:
    """Return the number of ranks to start now; None to keep waiting.

    Args:
        available: Slots that Spark has now.
        most: Requested number of ranks.
        fewest: Minimum number of ranks.
        waited: Seconds since the first check.
        lost: Whether ranks were just lost, so that Spark may still count lost slots.
    """
    if available >= most:
        return most if waited >= SETTLE_SECONDS or not lost else None
    return available if available >= fewest and waited >= RETURN_SECONDS else None


def check_session_of_ranks(spark: SparkSession, config: TrainingConfig) -> None:
    """Raise ``ClusterError`` if there are to be ranks, and the session is one of Spark Connect."""
    if config.num_workers and is_connect(spark):
        instead = "set it to 0 to train in this process"
        raise classic_only("training.num_workers", config.num_workers, "Horovod's ranks need", instead)


def ranks_to_start(spark: SparkSession, config: TrainingConfig, *, lost: bool = False) -> int:
    """Return the number of ranks to start, which Spark can run at once; Horovod would wait in vain for more.

    With ``elastic``, this waits for up to a minute for slots that are missing, or were lost.

    Args:
        spark: The session.
        config: Section ``training``.
        lost: Whether ranks were just lost.

    Raises:
        ClusterError: Spark has too few slots, or the session is one of Spark Connect.
    """
    most = config.num_workers
    check_session_of_ranks(spark, config)
    if is_connect(spark):
        return most
    master = str(spark.sparkContext.master)
    if not config.elastic:
        if most > (available := slots(spark, most)):
            raise too_few_slots("training.num_workers", most, master, available)
        return most
    began = time.monotonic()
    fixed = master == "local" or master.startswith("local[")  # in the driver: the number of slots is fixed
    while True:
        available = slots_now(spark)
        waited = float("inf") if fixed else time.monotonic() - began
        ranks = world_size(available, most, config.min_workers, waited, lost=lost)
        if ranks is not None:
            return ranks
        if waited >= _WAIT_SECONDS:
            raise too_few_slots("training.min_workers", config.min_workers, master, available)
        time.sleep(0.5)


class ScaleUpMonitor:
    """Stops the ranks, after a checkpoint, when Spark can run more of them.

    Args:
        spark: The session.
        config: Section ``training``.
        ranks: Number of running ranks.
        stop: Event that is set to stop them.

    Attributes:
        wanted: Whether the monitor has stopped them.
    """

    def __init__(self, spark: SparkSession, config: TrainingConfig, ranks: int, stop: threading.Event) -> None:
        self._spark, self._config, self._ranks, self._stop = spark, config, ranks, stop
        self.wanted = False

    def look(self) -> None:
        """Check the number of slots; call this when the ranks can resume from a new checkpoint."""
        if self._config.elastic and self._ranks < self._config.num_workers and not self._stop.is_set():
            self.wanted = slots_now(self._spark) > self._ranks
            if self.wanted:
                self._stop.set()
