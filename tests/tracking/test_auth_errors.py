"""Credentials that a tracking server refuses, from the start or in the middle of a training: over real HTTP."""

import http.server
import json
import threading
import time

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from convoy.errors import TrackingError
from convoy.tracking import connection, metric_queue
from convoy.tracking import run as run_module
from convoy.tracking.auth_errors import auth_errors_explained
from convoy.tracking.lifecycle import ending
from convoy.tracking.promotion import promote, rollback
from convoy.tracking.run import TrainingRun

pytestmark = pytest.mark.timeout(240)  # what goes wrong here hangs
TOKEN = "dapi-0123456789"
OF_DATABRICKS = 403, {"error_code": "403", "message": "Invalid access token."}


class Server:
    """Takes requests with the token, as MLflow's server does, for as long as ``expired`` is None; then answers that."""

    def __init__(self):
        self.expired, self.asked, self.metrics = None, 0, []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self._answer(*server.take(self.path, self.headers["Authorization"], b""))

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(*server.take(self.path, self.headers["Authorization"], body))

            def _answer(self, status, body):
                text = body if isinstance(body, str) else json.dumps(body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def take(self, path, authorization, body):
        if "/mlflow/" not in path:  # the page at its root, and what databricks-sdk looks for
            return 404, "no such page"
        self.asked += 1
        if self.expired or authorization != f"Bearer {TOKEN}":
            return self.expired or (401, "<html>Unauthorized</html>")
        if path.endswith("log-batch"):
            self.metrics += [metric["step"] for metric in json.loads(body)["metrics"]]
        return 200, {}


@pytest.fixture
def server(monkeypatch):
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


def line(call):
    """What the user reads."""
    with pytest.raises(TrackingError) as raised:
        call()
    assert "\n" not in str(raised.value)
    assert TOKEN not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (OF_DATABRICKS, "(status 403: Invalid access token)"),
        ((403, {"error_code": "PERMISSION_DENIED", "message": f"no {TOKEN}"}), "(status 403: no (redacted))"),
        ((401, {"error_code": "TOKEN_EXPIRED", "message": "it is late"}), "(TOKEN_EXPIRED: it is late)"),
        ((401, "<html>a gateway</html>"), "(status 401: API request to endpoint"),
    ],
)
def test_a_token_that_has_expired_is_named_with_what_the_server_says(server, monkeypatch, answer, said):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    server.expired, server.asked = answer, 0
    text = line(lambda: connection.connect(server.uri))
    assert text.startswith(f"tracking.uri '{server.uri}' rejects the credentials {said}")
    assert "; renew MLFLOW_TRACKING_TOKEN, or give their user access" in text
    assert server.asked < 1 + int(connection._REQUESTS["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])  # it is not asked again
    assert line(lambda: connection.look(server.uri)) == text


def test_the_credentials_that_were_sent_are_the_ones_to_mend(server, monkeypatch):
    assert line(lambda: connection.connect(server.uri)).endswith(
        "; set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    connection.connect(server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "old")  # which MLflow sends rather than the token
    assert "; correct MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD," in line(
        lambda: connection.connect(server.uri)
    )


def test_databricks_own_credentials(server, monkeypatch, tmp_path):
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("DATABRICKS_HOST", server.uri)
    monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
    connection.connect("databricks")
    server.expired = OF_DATABRICKS
    text = line(lambda: connection.connect("databricks"))
    assert text.startswith("tracking.uri 'databricks' rejects the credentials (status 403: ")
    assert "Invalid access token" in text
    assert "; renew DATABRICKS_TOKEN" in text


@pytest.mark.parametrize("call", [connection.experiment_id, rollback, lambda name: promote(f"models:/{name}/1")])
def test_what_may_be_read_and_not_changed_is_told_of_likewise(server, monkeypatch, call):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    connection.connect(server.uri)
    server.expired = OF_DATABRICKS
    assert "rejects the credentials (status 403: Invalid access token)" in line(lambda: call("digits"))


def test_what_is_no_refusal_passes_as_it_is():
    with pytest.raises(MlflowException, match="gone"), auth_errors_explained():
        raise MlflowException("gone", error_code=5)


def test_a_token_that_expires_while_training_lets_it_finish_and_is_told_of_at_once_and_at_the_end(
    server, monkeypatch, capsys
):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    monkeypatch.setattr(metric_queue, "_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(metric_queue, "_REFUSED_WAIT_SECONDS", 0.5)
    connection.connect(server.uri)
    run = TrainingRun("abc", "0")
    run.then = ", then continue with --resume abc"
    run.log_epoch(0, {"loss": 1.0})
    run.flush()
    assert server.metrics == [1]

    server.expired, server.asked = OF_DATABRICKS, 0
    run.log_epoch(1, {"loss": 1.0})
    while not server.asked:
        time.sleep(0.01)
    for epoch in range(2, 40):
        run.log_epoch(epoch, {"loss": 1.0})
        time.sleep(0.01)
    assert server.asked == 1  # it is not asked again and again

    def end():
        with ending(run):
            run.flush()

    began = time.monotonic()
    text = line(end)
    assert time.monotonic() - began < run_module._FLUSH_SECONDS  # as long as a server that is away is waited for
    assert text.startswith(
        f"39 metrics are not logged: tracking.uri '{server.uri}' rejects the credentials (status 403"
    )
    assert text.endswith("; renew MLFLOW_TRACKING_TOKEN, or give their user access, then continue with --resume abc")
    warnings = [one for one in capsys.readouterr().err.splitlines() if one.startswith("warning: ")]
    assert len(warnings) == 2, warnings
    assert "renew MLFLOW_TRACKING_TOKEN" in warnings[0]
    assert warnings[0].endswith("; training continues, metrics are sent later")
    assert warnings[1].startswith("warning: MLflow did not accept the end of run abc")


def test_access_that_comes_back_before_the_end_loses_nothing(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    monkeypatch.setattr(metric_queue, "_REFUSED_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(metric_queue, "_RETRY_SECONDS", 0.02)
    connection.connect(server.uri)
    server.expired, server.asked = OF_DATABRICKS, 0
    run = TrainingRun("abc", "0")
    for epoch in range(5):
        run.log_epoch(epoch, {"loss": 1.0})
    while server.asked < 3:
        time.sleep(0.01)
    server.expired = None
    run.flush()
    assert server.metrics == [1, 2, 3, 4, 5]
