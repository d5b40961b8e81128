"""Events from the ranks to the driver: JSON messages over one authenticated TCP connection per rank.

Ranks therefore need no access to the tracking server, and the driver sees progress immediately. Nothing is unpickled:
messages are JSON, and the connection is opened with ``multiprocessing.connection``'s HMAC handshake.
"""

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener, answer_challenge, deliver_challenge

from convoy import __version__
from convoy.cluster import connectivity
from convoy.errors import ClusterError
from convoy.training.events import Event, EventError, decode, encode

_LAST_WORDS_SECONDS = 5.0


@dataclass(frozen=True)
class Address:
    """The address that the driver listens on, and the key that it requires."""

    host: str
    port: int
    key: bytes = field(repr=False)

    def connect(self) -> "EventClient":
        """Open a connection from a rank.

        Raises:
            ClusterError: The driver cannot be reached.
            AuthenticationError: The key is wrong.
        """
        try:
            opened = socket.create_connection((self.host, self.port), timeout=connectivity.SECONDS)
        except OSError as error:
            why = f"the driver at {self.host}:{self.port} ({error.strerror or error})"
            raise ClusterError(connectivity.problem(socket.gethostname(), why)) from None
        opened.setblocking(True)
        connection = Connection(opened.detach())
        answer_challenge(connection, self.key)
        deliver_challenge(connection, self.key)
        return EventClient(connection)


class EventClient:
    """A rank's end of the channel."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, event: Event) -> None:
        """Send an event; errors are ignored if the driver has closed the connection."""
        with contextlib.suppress(OSError):
            self._connection.send_bytes(encode(event))

    def wait(self) -> None:
        """Wait until the driver closes the connection or exits; it sends nothing over this connection."""
        with contextlib.suppress(OSError):
            self._connection.poll(None)

    def close(self) -> None:
        """Close the connection; ``wait`` in another thread returns."""
        _shut_down(self._connection)
        self._connection.close()


class EventServer:
    """The driver's end of the channel: calls ``handle`` for every event, one at a time, until closed.

    Args:
        bind: Address to listen on.
        host: Name or address by which the ranks reach the driver.
        handle: Takes an event. An exception stops further calls, and is raised again by ``close``.
        on_failure: Called once after an exception of ``handle``, or after a message that is not an event of this
            version of Convoy, which counts as such an exception.
    """

    def __init__(
        self,
        bind: str,
        host: str,
        handle: Callable[[Event], None],
        on_failure: Callable[[], object] = lambda: None,
    ) -> None:
        self._listener = Listener((bind, 0), backlog=128)  # authentication happens in each connection's thread
        self._bind, self._handle, self._on_failure = bind, handle, on_failure
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._open, self._open_lock, self._hung_up = list[Connection](), threading.Lock(), False
        self._failure: Exception | None = None
        self._own_port = 0
        self.address = Address(host, self._listener.address[1], secrets.token_bytes(32))
        self._acceptor = threading.Thread(target=self._accept, name="channel", daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                continue
            accepted = self._listener.last_accepted or ("", 0)
            if self._own_port and accepted[1] == self._own_port:  # from ``close``: earlier ones have a thread
                connection.close()
                return
            thread = threading.Thread(target=self._receive, args=(connection,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _receive(self, connection: Connection) -> None:
        # Ends with the connection, or immediately if the client does not have the key or does not send JSON.
        with connection, contextlib.suppress(EOFError, OSError, ValueError, AuthenticationError):
            deliver_challenge(connection, self.address.key)
            answer_challenge(connection, self.address.key)
            with self._listed(connection):
                while not self._hung_up:
                    message = connection.recv_bytes()
                    with self._lock:
                        self._take(message)

    def _take(self, message: bytes) -> None:
        if self._failure is not None:
            return
        try:
            event = decode(message)
        except EventError as error:
            return self._fail(
                ClusterError(
                    f"a rank sent an event of another version of Convoy ({error}); install the driver's version,"
                    f" {__version__}, on the executors"
                )
            )
        try:
            self._handle(event)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._on_failure()

    @contextlib.contextmanager
    def _listed(self, connection: Connection) -> Iterator[None]:
        with self._open_lock:
            self._open.append(connection)
        try:
            yield
        finally:
            with self._open_lock:
                self._open.remove(connection)

    def hang_up(self) -> None:
        """Close all connections, also future ones, so that ``EventClient.wait`` returns. ``handle`` may call this."""
        self._hung_up = True
        with self._open_lock:
            for connection in self._open:
                _shut_down(connection)

    def close(self) -> None:
        """Handle pending events, stop listening, and raise the exception of ``handle``. A second call does nothing."""
        if self._own_port:
            return
        with socket.socket() as own:
            own.bind(("", 0))
            self._own_port = own.getsockname()[1]
            own.connect((_reachable(self._bind), self.address.port))
            self._acceptor.join(timeout=_LAST_WORDS_SECONDS)
        self._listener.close()
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))
        if self._failure is not None:
            raise self._failure


def _shut_down(connection: Connection) -> None:
    with contextlib.suppress(OSError), socket.fromfd(connection.fileno(), socket.AF_INET, 0) as copy:
        copy.shutdown(socket.SHUT_RDWR)


def _reachable(bind: str) -> str:
    """Return an address of this machine at which a listener bound to ``bind`` can be reached."""
    return "127.0.0.1" if bind in ("0.0.0.0", "") else bind
