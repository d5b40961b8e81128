"""Handling of Ctrl-C and SIGTERM: stop the work in progress, then raise ``KeyboardInterrupt`` in the main thread."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LAST_RESORT_SECONDS = 60.0


@contextmanager
def interruptible(stop: Callable[[], object], patience: float = 0.0) -> Iterator[None]:
    """Call ``stop`` at the first signal, in a separate thread, and then raise ``KeyboardInterrupt`` here.

    Args:
        stop: Stops the work; it may block, and its exceptions are ignored.
        patience: Seconds that the work has to end before the exception is raised; a second signal raises it at once.
            With 0 the exception is raised as soon as ``stop`` has returned, or after five seconds.

    A minute after the first signal the process exits unconditionally. Outside the main thread, where Python delivers no
    signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    timers: list[threading.Timer] = []

    def handle(number: int, frame: FrameType | None) -> None:
        first = not timers
        if first:
            timers.append(_later(_LAST_RESORT_SECONDS, lambda: os._exit(130)))
            stopper = threading.Thread(target=_quietly, args=(stop,), daemon=True)
            stopper.start()
            if patience:
                timers.append(_later(patience, lambda: os.kill(os.getpid(), signal.SIGINT)))
                return
            stopper.join(timeout=5)
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
        if timers:  # ``stop`` has ended the work
            raise KeyboardInterrupt
    except Exception:
        if timers:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for timer in timers:
            timer.cancel()


def _later(seconds: float, call: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
    return timer


def _quietly(stop: Callable[[], object]) -> None:
    try:
        stop()
    except Exception:  # the work may have ended already
        return
