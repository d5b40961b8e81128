"""Tracking servers as other people run them, on the loopback interface."""

import base64
import contextlib
import datetime
import http.client
import http.server
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 180
OLD = "2.13"
_MODELS = "/api/2.0/mlflow/logged-models"
_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server")


@contextlib.contextmanager
def mlflow_server(folder: Path, python: str = sys.executable, *options: str, **variables: str) -> Iterator[str]:
    """Run MLflow's own server with a SQLite store in a folder; yields its address.

    Args:
        folder: Where it keeps everything.
        python: The Python that has MLflow.
        options: Options of the server; by default artifacts go through it into the folder.
        variables: Environment variables of the server.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [python, "-W", "ignore", "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--backend-store-uri", "sqlite:///store.db"]
    if not any(option.startswith(("--artifacts", "--default-artifact")) for option in options):
        options += ("--artifacts-destination", str(folder / "artifacts"))
    command += options
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment = (
        {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | quiet | variables
    )
    log = folder / "server.log"
    with (
        open(log, "w") as output,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output) as process,
    ):
        try:
            _wait(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(address: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address, timeout=5).close()
            return
        time.sleep(0.5)
    raise AssertionError(f"MLflow's server does not answer:\n{log.read_text()[-3000:]}")


def old_python(cache: Path) -> str | None:
    """Return a Python with MLflow 2.13, installed into a folder if it has none; None if it cannot be installed."""
    python = cache / "bin" / "python"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if subprocess.run([python, "-c", "import mlflow, flask_wtf"], capture_output=True, timeout=120).returncode == 0:
            return str(python)
    uv = Path(sys.executable).with_name("uv")
    packages = [f"mlflow=={OLD}.*", "flask-wtf", "sqlalchemy<2.1", "setuptools<81"]  # Flask-WTF is for basic-auth
    try:
        for command in (
            [uv, "venv", "-q", "--clear", "--python", sys.executable, cache],
            [uv, "pip", "install", "-q", "--python", python, *packages],
        ):
            subprocess.run([*map(str, command)], capture_output=True, timeout=600, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return str(python)


@dataclass
class Proxy:
    """A proxy before a server.

    Attributes:
        prefix: Path under which it shows the server.
        hidden: Start of the paths that it answers with 404, as a server that has no such endpoint.
        delay: Seconds that the first answer takes.
        busy: Number of requests that it answers with 503, before the server has started.
        token: Token that it demands; None demands none.
        authority: Certificate of the authority whose client certificates it demands, over TLS; None demands none.
        page: A page that it answers with in place of the server.
    """

    target: str
    prefix: str = ""
    hidden: str | None = None
    delay: float = 0.0
    busy: int = 0
    token: str | None = None
    authority: Path | None = None
    page: str | None = None
    served: int = 0


@contextlib.contextmanager
def proxy(settings: Proxy, certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    """Run a proxy; yields its address.

    Args:
        settings: What it does.
        certificate: Files of a certificate and its key, for TLS.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            settings.served += 1
            if settings.served == 1:
                time.sleep(settings.delay)
            if settings.served <= settings.busy:
                return self.send(503, b"starting", {"Content-Type": "text/plain"})
            if settings.page is not None:
                return self.send(200, settings.page.encode(), {"Content-Type": "text/html"})
            if settings.token is not None and self.headers["Authorization"] != f"Bearer {settings.token}":
                return self.send(401, b"<html>who are you?</html>", {"Content-Type": "text/html"})
            path = self.path.removeprefix(settings.prefix)
            if not self.path.startswith(settings.prefix) or (settings.hidden and path.startswith(settings.hidden)):
                return self.send(404, b"<html>Not Found</html>", {"Content-Type": "text/html"})
            host = settings.target.removeprefix("http://")
            connection = http.client.HTTPConnection(host, timeout=120)
            with contextlib.closing(connection):
                headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP and k.lower() != "host"}
                connection.request(self.command, path, body, {**headers, "Host": host})
                found = connection.getresponse()
                kept = {name: value for name, value in found.getheaders() if name.lower() not in _HOP}
                return self.send(found.status, found.read(), kept)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        if settings.authority is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(settings.authority)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}{settings.prefix}"
    finally:
        server.shutdown()
        server.server_close()


def without_logged_models(target: str) -> Proxy:
    """A server of MLflow 2: it has no endpoint for models with ids."""
    return Proxy(target, hidden=_MODELS)


def under_a_prefix(target: str) -> Proxy:
    """A server behind a gateway that shows it under a path, and demands a token."""
    return Proxy(target, prefix="/tools/mlflow", token="secret-token-1")


def slow_at_first(target: str, seconds: float) -> Proxy:
    """A server that is woken by the first request."""
    return Proxy(target, delay=seconds)


def login_page(target: str) -> Proxy:
    """A gateway that answers every request with a page to log in, and status 200."""
    return Proxy(target, page="<html>\n<title>Log in</title>\n</html>")


def certificates(folder: Path) -> tuple[Path, tuple[Path, Path]]:
    """Write a certificate authority of one's own, and a certificate that it has signed, of 127.0.0.1 and of a client.

    Returns:
        (certificate of the authority, (certificate of the server, its key)).
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.UTC)
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def certificate(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("a private CA"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)  # signs certificates
    root = (
        certificate("a private CA", authority)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), critical=False)
        .sign(authority, hashes.SHA256())
    )
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    leaf = (
        certificate("127.0.0.1", own)
        .add_extension(address, critical=False)
        .add_extension(signer, critical=False)
        .sign(authority, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    for file, content in zip(
        files, (root.public_bytes(pem), leaf.public_bytes(pem), own.private_bytes(pem, *plain)), strict=True
    ):
        file.write_bytes(content)
    return files[0], (files[1], files[2])


@contextlib.contextmanager
def with_users(folder: Path, python: str = sys.executable) -> Iterator[str]:
    """Run MLflow's server with its app ``basic-auth``, whose administrator is ``anna`` with ``a long secret``.

    A user ``ben`` with ``another secret`` may only read what others have.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "auth.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///users.db\n"
        "admin_username = anna\nadmin_password = a long secret\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    secrets = {"MLFLOW_AUTH_CONFIG_PATH": str(settings), "MLFLOW_FLASK_SERVER_SECRET_KEY": "key of the tests"}
    with mlflow_server(folder, python, "--app-name", "basic-auth", **secrets) as address:
        body = {"username": "ben", "password": "another secret"}
        sign_in = base64.b64encode(b"anna:a long secret").decode()
        request = urllib.request.Request(
            f"{address}/api/2.0/mlflow/users/create",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Basic {sign_in}"},
        )
        urllib.request.urlopen(request, timeout=60).close()
        yield address


@contextlib.contextmanager
def empty_store() -> Iterator[str]:
    """A server that answers every request of MLflow's API with an empty object: enough for a look at it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200 if "/api/2.0/mlflow/" in self.path else 404)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST: Callable[..., None] = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
