"""Events from the ranks to the driver: JSON messages over one authenticated TCP connection per rank.

Ranks need no access to the tracking server this way, and the driver sees progress as it happens. Nothing is
unpickled: messages are JSON, and the connection is opened with ``multiprocessing.connection``'s HMAC handshake.
"""

import contextlib
import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

Event = dict[str, Any]


@dataclass(frozen=True)
class Address:
    """Where the driver listens, and the key that it asks for."""

    host: str
    port: int
    key: bytes = field(repr=False)

    def connect(self) -> "Sender":
        """Open a connection from a rank."""
        return Sender(Client((self.host, self.port), authkey=self.key))


class Sender:
    """A rank's end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, event: Event) -> None:
        """Send an event; a driver that has gone away is not this rank's concern."""
        with contextlib.suppress(OSError):
            self._connection.send_bytes(json.dumps(event).encode())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Receiver:
    """The driver's end: calls ``handle`` for every event, one at a time, until closed.

    Args:
        host: Address to bind to.
        handle: Takes an event.
    """

    def __init__(self, host: str, handle: Callable[[Event], None]) -> None:
        key = secrets.token_bytes(32)
        self._listener = Listener((host, 0), backlog=128, authkey=key)
        self._handle = handle
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._closing = False
        self.address = Address(host, self._listener.address[1], key)
        self._acceptor = threading.Thread(target=self._accept, name="channel", daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection = self._listener.accept()
            except Exception:  # a stranger with the wrong key, or the listener was closed
                continue
            thread = threading.Thread(target=self._receive, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _receive(self, connection: Connection) -> None:
        with connection:
            while True:
                try:
                    event = json.loads(connection.recv_bytes())
                except (EOFError, OSError):
                    return
                with self._lock:
                    self._handle(event)

    def close(self) -> None:
        """Handle what has arrived, then stop listening."""
        for thread in self._threads:
            thread.join(timeout=5)
        self._closing = True
        with contextlib.suppress(OSError):  # wake the acceptor
            Client((self.address.host, self.address.port), authkey=self.address.key).close()
        self._acceptor.join(timeout=5)
        self._listener.close()
