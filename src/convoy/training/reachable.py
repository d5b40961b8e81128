"""Can the driver be reached from where ranks run? They report to it, and meet there, on whichever ports are free."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from convoy.errors import ClusterError

Meeting = tuple[str, int]
"""Address and port of the driver, as ranks get them."""

SECONDS = 5.0  # for a connection within a cluster
MEND = (
    "let spark.driver.host be an address of the driver that workers reach (spark.driver.bindAddress: where it listens),"
    " and let no firewall close the TCP ports between driver and workers"
)
_PRINTED = re.compile(r"ClusterError: (host \S+ cannot reach the driver at [^\n]*)")


@contextmanager
def listening(bind: str, host: str) -> Iterator[Meeting]:
    """Listen on a free port, as the driver does for its ranks; yields the address to try.

    Args:
        bind: Address to listen on.
        host: Name or address by which ranks reach it.
    """
    with socket.create_server((bind, 0), backlog=128) as server:
        thread = threading.Thread(target=_let_in, args=(server,), name="meeting", daemon=True)
        thread.start()
        try:
            yield host, server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)  # wakes the thread
            thread.join(timeout=SECONDS)


def _let_in(server: socket.socket) -> None:
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return


def question(meeting: Meeting | None) -> Callable[[], str | None]:
    """Return the function that tries it: None, or address, port and why not. It is sent as code, as its caller is."""
    seconds = SECONDS

    def attempt() -> str | None:
        import socket

        if meeting is None:
            return None
        try:
            socket.create_connection(meeting, timeout=seconds).close()
        except OSError as error:
            return f"{meeting[0]}:{meeting[1]} ({error.strerror or error})"
        return None

    return attempt


def problem(host: str, unreached: str) -> str:
    """One line about a host that does not reach the driver.

    Args:
        host: Its name.
        unreached: Address and port, and why not.
    """
    return f"host {host} cannot reach the driver at {unreached}, within {SECONDS:g} s; {MEND}"


def told(output: str) -> ClusterError | None:
    """Return what a process that could not report to the driver has printed; None where it ended for another reason."""
    found = _PRINTED.search(output)
    return ClusterError(found[1].strip()) if found else None
