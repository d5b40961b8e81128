"""Do the machines of ranks reach the driver, and each other? They meet, and report, on whichever ports are free."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from convoy.errors import ClusterError

Meeting = tuple[str, int]
"""Address and port of the driver, as ranks get them."""
Address = tuple[str, int]

SECONDS = 5.0  # for a connection within a cluster
_GATHER_SECONDS = 10.0  # that tasks which begin sooner wait for the others
_MEND = (
    "let spark.driver.host be an address of the driver that workers reach (spark.driver.bindAddress: where it listens),"
    " and let no firewall close the TCP ports between driver and workers, or among workers"
)
_PRINTED = re.compile(r"ClusterError: (host \S+ cannot reach [^\n]*)")


@contextmanager
def listening(bind: str, host: str, tasks: int) -> Iterator[Meeting]:
    """Listen on a free port, as the driver does for its ranks, and let tasks that ``question`` try each other there.

    Args:
        bind: Address to listen on.
        host: Name or address by which ranks reach it.
        tasks: Number of tasks that are to come; those that come late are not waited for.
    """
    with socket.create_server((bind, 0), backlog=128) as server:
        threading.Thread(target=_let_in, args=(server, _Ring(tasks)), name="meeting", daemon=True).start()
        try:
            yield host, server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)  # wakes the thread


class _Ring:
    """Who is there, and who tries whom: each the next, so that every machine tries one other, as Horovod does."""

    def __init__(self, tasks: int) -> None:
        self._tasks, self._changed = tasks, threading.Condition()
        self._there, self._closed, self._done = list[Address](), False, 0

    def join(self, own: Address) -> Address | None:
        """Wait for the others; return the next one, None for who is alone or late."""
        with self._changed:
            if self._closed:
                return None
            self._there.append(own)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed or len(self._there) == self._tasks, _GATHER_SECONDS)
            self._closed = True
            ring = sorted(self._there)
            return ring[(ring.index(own) + 1) % len(ring)] if len(ring) > 1 else None

    def leave(self) -> None:
        """Wait until all have tried."""
        with self._changed:
            self._done += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._done >= len(self._there), SECONDS + 1)


def _let_in(server: socket.socket, ring: _Ring) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_host, args=(connection, ring), daemon=True).start()


def _host(connection: socket.socket, ring: _Ring) -> None:
    with connection, contextlib.suppress(OSError, ValueError), connection.makefile("rw") as stream:
        connection.settimeout(_GATHER_SECONDS + SECONDS)
        host, port = stream.readline().split()
        other = ring.join((host, int(port)))
        stream.write(f"{json.dumps(other)}\n")
        stream.flush()
        stream.readline()
        ring.leave()


def question(meeting: Meeting | None) -> Callable[[], str | None]:
    """Return what a task runs: None, or whom it does not reach, and why not. It is sent as code, as its caller is."""
    seconds, patience = SECONDS, _GATHER_SECONDS + 2 * SECONDS

    def attempt() -> str | None:
        import json
        import socket

        def to(who: str, address: Address) -> socket.socket | str:
            try:
                return socket.create_connection(address, timeout=seconds)
            except OSError as error:
                return f"{who} at {address[0]}:{address[1]} ({error.strerror or error})"

        if meeting is None:
            return None
        driver = to("the driver", meeting)
        if isinstance(driver, str):
            return driver
        try:
            # On the interface that leads to the driver, and by its own name: what the driver sees may be a gateway's.
            interface = driver.getsockname()[0]
            with (
                driver,
                socket.create_server((interface, 0), family=driver.family) as own,
                driver.makefile("rw") as stream,
            ):
                driver.settimeout(patience)
                stream.write(f"{interface} {own.getsockname()[1]}\n")
                stream.flush()
                other = json.loads(stream.readline())
                reached = to("another worker", tuple(other)) if other else None
                stream.write("done\n")
                stream.flush()
                stream.readline()  # its end: all have tried
        except (OSError, ValueError):  # the driver has ended the meeting
            return None
        if isinstance(reached, str):
            return reached
        if reached is not None:
            reached.close()
        return None

    return attempt


def problem(host: str, unreached: str) -> str:
    """One line about a host that does not reach the driver, or another.

    Args:
        host: Its name.
        unreached: Whom, at which address and port, and why not.
    """
    return f"host {host} cannot reach {unreached}, within {SECONDS:g} s; {_MEND}"


def told(output: str) -> ClusterError | None:
    """Return what a process that could not report to the driver has printed; None where it ended for another reason."""
    found = _PRINTED.search(output)
    return ClusterError(found[1].strip()) if found else None
