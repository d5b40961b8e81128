"""The output of the ranks, and of Horovod's threads when they fail."""

import io
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager


class RankOutput(io.TextIOBase):
    """Keeps the end of the ranks' output, which is shown only if they fail without reporting a reason."""

    limit = 20_000

    def __init__(self) -> None:
        self._text = ""

    def write(self, text: str) -> int:
        """Append a text and return its length."""
        self._text = (self._text + text)[-self.limit :]
        return len(text)

    def tail(self) -> str:
        """Return the end of the output."""
        return self._text

    @contextmanager
    def with_thread_failures(self) -> Iterator[None]:
        """Capture the tracebacks of threads that fail within the block, as Horovod's Spark thread does after a rank."""
        hook, threading.excepthook = threading.excepthook, self._take_thread_failure
        try:
            yield
        finally:
            threading.excepthook = hook

    def _take_thread_failure(self, failure: threading.ExceptHookArgs) -> None:
        self.write("".join(traceback.format_exception(failure.exc_type, failure.exc_value, failure.exc_traceback)))
