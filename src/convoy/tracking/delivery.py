"""Metrics on their way to the tracking store: in a thread of their own, so that training never waits for a server."""

import threading
import time
from collections.abc import Callable, Sequence

from mlflow.entities import Metric

from convoy.errors import TrackingError
from convoy.tracking.store import first_line

_BATCH = 100  # that MLflow takes in one request
_RETRY_SECONDS = 2.0


class Delivery:
    """Sends metrics in the order in which they were put, and again and again when the store does not take them.

    A request whose answer was lost is sent a second time. The metric has its time stamp already, by which MLflow's SQL
    stores know it again.

    Args:
        send: Sends some metrics; raises when it cannot.
        warn: Takes a line when metrics are not taken, and when they are again.
    """

    def __init__(self, send: Callable[[Sequence[Metric]], object], warn: Callable[[str], None]) -> None:
        self._send, self._warn = send, warn
        self._pending: list[Metric] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._problem = ""

    def put(self, metrics: Sequence[Metric]) -> None:
        """Take metrics to send; returns at once."""
        with self._changed:
            self._pending += metrics
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)
            self._thread.start()

    def finish(self, seconds: float) -> None:
        """Wait until all metrics are sent.

        Args:
            seconds: At most.

        Raises:
            TrackingError: Some are not.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._pending:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TrackingError(
                        f"the tracking store did not take {len(self._pending)} metrics within {seconds:g} s after the"
                        f" last epoch ({self._problem or 'no answer'}); mend it, and go on with --resume"
                    )
                self._changed.wait(left)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._pending:
                    self._changed.wait()
                batch = self._pending[:_BATCH]
            try:
                self._send(batch)
            except Exception as error:
                if not self._problem:
                    self._warn(f"warning: MLflow does not take metrics ({first_line(error)}); they are sent later")
                self._problem = first_line(error)
                time.sleep(_RETRY_SECONDS)
                continue
            if self._problem:
                self._warn("MLflow takes metrics again")
            with self._changed:
                self._problem = ""
                del self._pending[: len(batch)]
                self._changed.notify_all()
