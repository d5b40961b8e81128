"""A training that stands still: told from its events, and ended."""

import threading
import time
from collections.abc import Callable

START_SECONDS = 120
_PROGRESS = frozenset({"started", "resumed", "step", "alive", "epoch"})


class Watchdog:
    """Ends a training when it has made no progress for too long; a context manager.

    Until the first step it has as long as it has to start, at least: processes load TensorFlow and build the graph.

    Args:
        timeout: Seconds.
        end: Called once to end the training, in a thread of its own.
        begun: Whether time counts from the start; else it does from the first event.

    Attributes:
        limit: Seconds that count now.
        stalled: Whether it has ended the training.
    """

    def __init__(self, timeout: float, end: Callable[[], object], *, begun: bool = True) -> None:
        self._timeout, self._end, self._begun = timeout, end, begun
        self.limit = max(timeout, START_SECONDS)
        self._last = float("inf")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)
        self.stalled = False

    def alive(self, event: str) -> None:
        """Note an event of that type; only those of the training itself are a sign of life."""
        if event in _PROGRESS:
            self._last = time.monotonic()
        if event in ("step", "epoch"):
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
