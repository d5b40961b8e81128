"""What the ranks print, and what Horovod's threads do when they fail."""

import io
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager


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
        """Take what threads print when they fail within the block: Horovod's Spark thread does after any rank has."""
        hook, threading.excepthook = threading.excepthook, self._take_thread_failure
        try:
            yield
        finally:
            threading.excepthook = hook

    def _take_thread_failure(self, failure: threading.ExceptHookArgs) -> None:
        self.write("".join(traceback.format_exception(failure.exc_type, failure.exc_value, failure.exc_traceback)))
