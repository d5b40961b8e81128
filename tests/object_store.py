"""A real S3 server on the loopback interface, and a proxy in front of it that fails on demand.

The server is moto's, in a process of its own. Tests that use it are skipped where moto or s3fs is missing.
"""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

BUCKET = "bucket"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """The port of a server with the bucket ``bucket``; one for all tests."""
    pytest.importorskip("s3fs", reason="needs the package s3fs")
    pytest.importorskip("moto.server", reason="needs the package moto[s3]")
    with server(tmp_path_factory.mktemp("s3")) as port:
        yield port


@pytest.fixture
def s3(s3_server, monkeypatch, request):
    """A URL of a folder of this test alone; the environment names the server and has credentials."""
    use(monkeypatch, s3_server)
    return f"s3://{BUCKET}/{request.node.name.replace('[', '-').replace(']', '')[:60]}-{os.urandom(3).hex()}"


@pytest.fixture
def faulty(s3_server, s3, monkeypatch):
    """A proxy in front of the server, which the environment names; see ``Faults``."""
    with proxy(s3_server) as found:
        use(monkeypatch, found.port)
        yield found


def use(monkeypatch, port):
    """Let fsspec use the server at a port, in this process, in those that it starts, and in Spark's Python workers."""
    import fsspec
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    for name, value in environment(port).items():
        monkeypatch.setenv(name, value)
        if session is not None:  # its JVM, which starts the workers, is older than these variables
            monkeypatch.setitem(session.sparkContext.environment, name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def environment(port):
    """Variables that name the server at a port, and have credentials for it."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def server(folder) -> Iterator[int]:
    """Run moto's server with one bucket, and yield its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with open(folder / "server.txt", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request("PUT", f"/{BUCKET}")
                assert connection.getresponse().status == 200
                break
            except OSError:
                assert process.poll() is None, (folder / "server.txt").read_text()
                assert time.monotonic() < until
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


@dataclass
class Faults:
    """A proxy that answers some requests itself.

    Attributes:
        port: Where it listens.
        fault: Function of (method, path with query, number of the request) that returns what to do: None to pass
            the request on; a status to answer, or (status, code); ``"cut"`` to close the connection within the
            answer; ``"lost"`` to pass the request on and not to answer; ``"html"`` to answer with a page; a number of
            seconds to wait first.
        requests: (method, path) of all requests.
    """

    port: int = 0
    fault: Callable[[str, str, int], "int | float | str | tuple[int, str] | None"] = lambda *_: None
    requests: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def proxy(port: int) -> Iterator[Faults]:
    """Run a proxy in front of the server at a port."""
    faults = Faults()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def pass_on(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            faults.requests.append((self.command, self.path))
            what = faults.fault(self.command, self.path, len(faults.requests))
            if isinstance(what, (int, tuple)):
                status, code = (what, "SlowDown") if isinstance(what, int) else what
                self.answer(
                    status, {}, b"<Error><Code>%s</Code><Message>%s.</Message></Error>" % ((code.encode(),) * 2)
                )
                return
            if what == "html":
                self.answer(200, {"Content-Type": "text/html"}, b"<html><body>Please log in</body></html>")
                return
            if isinstance(what, float):
                time.sleep(what)
            behind = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            behind.request(self.command, self.path, body, dict(self.headers))
            answer = behind.getresponse()
            content, headers = answer.read(), dict(answer.getheaders())
            behind.close()
            if what == "lost":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.answer(answer.status, headers, content, cut=what == "cut")

        def answer(self, status, headers, content, cut=False):
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            length = headers.get("Content-Length", len(content)) if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    faults.port = listening.server_address[1]
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield faults
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
