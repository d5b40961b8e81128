"""Metrics on their way to the tracking store, sent by a separate thread, so that training never waits for a server."""

import threading
import time
from collections.abc import Callable, Sequence

from mlflow.entities import Metric

from convoy.errors import TrackingError
from convoy.tracking.connection import first_line

_BATCH = 100  # MLflow's limit for one request
_RETRY_SECONDS = 2.0
# Rejected credentials do not become valid by themselves: such a server is retried seldom during training, and not
# waited for at its end.
_REFUSED_RETRY_SECONDS = 30.0
_REFUSED_WAIT_SECONDS = 5.0


class MetricQueue:
    """Sends metrics in the order in which they were put, and retries while the store does not accept them.

    A request whose answer was lost is sent a second time. The time stamp of the metric lets MLflow's SQL stores
    recognise the repetition.

    Args:
        send: Sends some metrics; raises an exception if it fails, ``TrackingError`` if the user has to fix something.
        warn: Receives a line when metrics are rejected, and when they are accepted again.
    """

    def __init__(self, send: Callable[[Sequence[Metric]], object], warn: Callable[[str], None]) -> None:
        self._send, self._warn = send, warn
        self._pending: list[Metric] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._problem, self._refused, self._finishing = "", False, False

    def put(self, metrics: Sequence[Metric]) -> None:
        """Add metrics to send; return immediately."""
        with self._changed:
            self._pending += metrics
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)
            self._thread.start()

    def finish(self, seconds: float) -> None:
        """Wait until all metrics are sent.

        Args:
            seconds: Time limit.

        Raises:
            TrackingError: Some metrics were not sent in time.
        """
        began = time.monotonic()
        with self._changed:
            self._finishing = True
            self._changed.notify_all()
            try:
                while self._pending:
                    limit = min(seconds, _REFUSED_WAIT_SECONDS) if self._refused else seconds
                    if (left := began + limit - time.monotonic()) <= 0:
                        raise TrackingError(self._late(seconds))
                    self._changed.wait(left)
            finally:
                self._finishing = False

    def _late(self, seconds: float) -> str:
        if self._refused:
            return f"{len(self._pending)} metrics are not logged: {self._problem}"
        return (
            f"the tracking store did not take {len(self._pending)} metrics within {seconds:g} s after the last epoch"
            f" ({self._problem or 'no answer'}); fix it, and continue with --resume"
        )

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._pending:
                    self._changed.wait()
                batch = self._pending[:_BATCH]
            try:
                self._send(batch)
            except Exception as error:
                self._wait(error)
                continue
            if self._problem:
                self._warn("MLflow accepts metrics again")
            with self._changed:
                self._problem, self._refused = "", False
                del self._pending[: len(batch)]
                self._changed.notify_all()

    def _wait(self, error: Exception) -> None:
        """Report the problem, once, and wait for the next attempt."""
        refused = isinstance(error, TrackingError)
        if not self._problem or refused != self._refused:
            line = str(error) if refused else f"MLflow does not accept metrics ({first_line(error)})"
            self._warn(f"warning: {line}; {'training continues, metrics' if refused else 'they'} are sent later")
        with self._changed:
            self._problem, self._refused = (str(error) if refused else first_line(error)), refused
            self._changed.notify_all()
            if refused:
                self._changed.wait_for(lambda: self._finishing, _REFUSED_RETRY_SECONDS)
        if not refused or self._finishing:
            time.sleep(_RETRY_SECONDS)
