"""Check that the machines of the ranks can connect to the driver and to each other, on any free ports."""

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
_GATHER_SECONDS = 10.0  # for which the first tasks wait for the others
_MEND = (
    "set spark.driver.host to an address of the driver that workers can reach (spark.driver.bindAddress: where it"
    " listens), and open the TCP ports between driver and workers, and among workers, in every firewall"
)
_PRINTED = re.compile(r"ClusterError: (host \S+ cannot reach [^\n]*)")


@contextmanager
def listening(bind: str, host: str, tasks: int) -> Iterator[Meeting]:
    """Listen on a free port of the driver, where tasks that run ``question`` exchange addresses.

    Args:
        bind: Address to listen on.
        host: Name or address by which ranks reach the driver.
        tasks: Expected number of tasks; late ones are not waited for.
    """
    with socket.create_server((bind, 0), backlog=128) as server:
        threading.Thread(target=_let_in, args=(server, _Ring(tasks)), name="meeting", daemon=True).start()
        try:
            yield host, server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)  # wakes the thread


class _Ring:
    """The tasks that have connected, as a ring: each connects to the next, as Horovod's ranks do."""

    def __init__(self, tasks: int) -> None:
        self._tasks, self._changed = tasks, threading.Condition()
        self._there, self._closed, self._done = list[Address](), False, 0

    def join(self, own: Address) -> Address | None:
        """Wait for the other tasks, and return the address of the next one; None for a task that is alone or late."""
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
        """Wait until all tasks have tried to connect."""
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
    """Return the function that a task runs, sent as code. It returns None, or the address it cannot reach, and why."""
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
            # Send the address of the interface that leads to the driver: the driver may see a gateway's address.
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
                stream.readline()  # end of file: all tasks have tried
        except (OSError, ValueError):  # the driver has closed the connection
            return None
        if isinstance(reached, str):
            return reached
        if reached is not None:
            reached.close()
        return None

    return attempt


def problem(host: str, unreached: str) -> str:
    """Return a one-line message about a host that cannot reach the driver or another worker.

    Args:
        host: Name of the host.
        unreached: What it cannot reach, at which address and port, and why.
    """
    return f"host {host} cannot reach {unreached} within {SECONDS:g} s; {_MEND}"


def reported_problem(output: str) -> ClusterError | None:
    """Return the error that a process printed because it could not reach the driver; None if it printed none."""
    found = _PRINTED.search(output)
    return ClusterError(found[1].strip()) if found else None
