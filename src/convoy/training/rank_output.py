"""What the ranks print, and how Horovod's threads that bring it fail."""

import io
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

_READER = "prefix_connection"  # Horovod's function, whose name Python gives to its threads
_READERS_SECONDS = 3.0


class RankOutput(io.TextIOBase):
    """Keeps the end of what the ranks print; it is shown only when they fail for no reason that they could report."""

    limit = 20_000

    def __init__(self) -> None:
        self._text = ""

    def write(self, text: str) -> int:
        """Take a text."""
        self._text = (self._text + text)[-self.limit :]
        return len(text)

    def tail(self) -> str:
        """The end of it."""
        return self._text

    @contextmanager
    def with_thread_failures(self) -> Iterator[None]:
        """Take what threads print when they fail within the block.

        Horovod's Spark thread fails loudly after any rank has failed, and those that read what ranks print do when the
        ranks are ended: a little later than the call, so these are waited for.
        """
        hook, threading.excepthook = threading.excepthook, self._take_thread_failure
        try:
            yield
        finally:
            deadline = time.monotonic() + _READERS_SECONDS
            for thread in threading.enumerate():
                if _READER in thread.name:
                    thread.join(max(0.0, deadline - time.monotonic()))
            threading.excepthook = hook

    def _take_thread_failure(self, failure: threading.ExceptHookArgs) -> None:
        self.write("".join(traceback.format_exception(failure.exc_type, failure.exc_value, failure.exc_traceback)))
