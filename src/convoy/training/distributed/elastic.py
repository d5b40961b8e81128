"""How many ranks to start: those asked for, or with ``training.elastic`` as many as Spark has slots for."""

import threading
import time

from pyspark.sql import SparkSession

from convoy.cluster.spark import slots, slots_now, too_few_slots
from convoy.config import TrainingConfig

# Spark's standalone scheduler counts an executor whose connection is gone for 5 s more
# (spark.standalone.executorRemoveDelayOnDisconnection).
SETTLE_SECONDS = 6.0
RETURN_SECONDS = 12.0  # for an executor that is started anew
_WAIT_SECONDS = 60.0


class ScaleUp(Exception):
    """The ranks were ended because Spark can run more of them now."""


def world_size(available: int, most: int, fewest: int, waited: float, *, lost: bool) -> int | None:
    """Return the number of ranks to start now; None to wait on.

    Args:
        available: Slots that Spark has now.
        most: Ranks that are wanted.
        fewest: Ranks without which training does not go on.
        waited: Seconds since the first look.
        lost: Whether ranks were lost before it, so that Spark may not know yet what else is.
    """
    if available >= most:
        return most if waited >= SETTLE_SECONDS or not lost else None
    return available if available >= fewest and waited >= RETURN_SECONDS else None


def ranks_to_start(spark: SparkSession, config: TrainingConfig, *, lost: bool = False) -> int:
    """Return the number of ranks that Spark can run at once; Horovod would wait in vain for more.

    With ``elastic``, slots that are to come, or to come back, are waited for: at most a minute.

    Args:
        spark: The session.
        config: Section ``training``.
        lost: Whether ranks were lost just now.

    Raises:
        ClusterError: Spark has too few slots.
    """
    most, master = config.num_workers, str(spark.sparkContext.master)
    if not config.elastic:
        if most > (available := slots(spark, most)):
            raise too_few_slots("training.num_workers", most, master, available)
        return most
    began = time.monotonic()
    fixed = master == "local" or master.startswith("local[")  # the driver itself: its slots neither come nor go
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
    """Ends an attempt, after a checkpoint, when Spark can run more ranks than it has.

    Args:
        spark: The session.
        config: Section ``training``.
        ranks: How many run.
        stop: Set to end them.

    Attributes:
        wanted: Whether it has ended them.
    """

    def __init__(self, spark: SparkSession, config: TrainingConfig, ranks: int, stop: threading.Event) -> None:
        self._spark, self._config, self._ranks, self._stop = spark, config, ranks, stop
        self.wanted = False

    def look(self) -> None:
        """Look at the slots; to be called when the ranks can go on from a new checkpoint."""
        if self._config.elastic and self._ranks < self._config.num_workers and not self._stop.is_set():
            self.wanted = slots_now(self._spark) > self._ranks
            if self.wanted:
                self._stop.set()
