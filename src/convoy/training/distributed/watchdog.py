"""Detection of a training that hangs: it is stopped if its events stop."""

import threading
import time
from collections.abc import Callable

from convoy.training.events import Alive, Epoch, Event, Resumed, Started, Step, TaskBegun

START_SECONDS = 120
_PROGRESS = (TaskBegun, Started, Resumed, Step, Alive, Epoch)


class Watchdog:
    """Context manager that stops a training if it makes no progress for too long.

    Until the first step the limit is at least ``START_SECONDS``: processes load TensorFlow and build the graph.

    Args:
        timeout: Seconds without progress after the first step.
        end: Called once to stop the training, in a separate thread.
        begun: Whether time counts from the start of the block, rather than from the first event.

    Attributes:
        limit: Current limit in seconds.
        stalled: Whether the watchdog has stopped the training.
    """

    def __init__(self, timeout: float, end: Callable[[], object], *, begun: bool = True) -> None:
        self._timeout, self._end, self._begun = timeout, end, begun
        self.limit = max(timeout, START_SECONDS)
        self._last = float("inf")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)
        self.stalled = False

    def heartbeat(self, event: Event) -> None:
        """Record an event; only events of the training itself count as progress."""
        if isinstance(event, _PROGRESS):
            self._last = time.monotonic()
        if isinstance(event, Step | Epoch):
            self.limit = self._timeout

    def _watch(self) -> None:
        while not self._done.wait(min(1.0, self._timeout / 4)):
            if time.monotonic() - self._last > self.limit:
                self.stalled = True
                self._end()
                return

    def __enter__(self) -> "Watchdog":
        if self._begun:
            self._last = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=5)
