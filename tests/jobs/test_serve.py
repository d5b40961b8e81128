"""``mlflow models serve`` as a process, and real files of images posted to it."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import encoded, noise
from tests.inference.packages import CLASSES, truth

pytestmark = [pytest.mark.e2e, pytest.mark.long]

_SECONDS = 240  # to start, on a busy machine


@pytest.fixture(scope="module")
def address(animals, tmp_path_factory):
    """A served model's, on the loopback interface."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("mlflow")), "models", "serve", "-m", animals.uri]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    folder = tmp_path_factory.mktemp("served")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW"))}
    environment |= {"MLFLOW_TRACKING_URI": animals.store, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait(f"http://127.0.0.1:{port}/ping", server, folder / "log")
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(20)


def _wait(ping, server, log):
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(ping, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


def post(address, content):
    request = urllib.request.Request(address, json.dumps(content).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["predictions"]
    except urllib.error.HTTPError as refused:
        refused.add_note(refused.read().decode())  # the server's traceback
        raise


def test_png_files_are_answered_with_names_and_probabilities(address):
    images = noise(20, 8, 6, 3)
    files = [base64.b64encode(encoded(image)).decode() for image in images]
    answers = post(address, {"dataframe_records": [{"image": file} for file in files]})
    expected = truth(images)
    assert [answer["prediction_index"] for answer in answers] == expected.argmax(1).tolist()
    assert [answer["prediction"] for answer in answers] == [CLASSES[i] for i in expected.argmax(1)]
    np.testing.assert_allclose([answer["probability"] for answer in answers], expected.max(1), atol=1e-5)
    assert {answer["error"] for answer in answers} == {None}
    [alone] = post(address, {"dataframe_split": {"columns": ["image"], "data": [[files[0]]]}})
    # A batch of another size may be added up in another order: the last bits of the probability may differ.
    assert alone == {**answers[0], "probability": pytest.approx(answers[0]["probability"], abs=1e-5)}


def test_a_broken_file_has_an_error_and_the_others_an_answer(address):
    good, bad = (base64.b64encode(content).decode() for content in (encoded(noise(8, 6, 3)), b"no image at all"))
    first, second = post(address, {"dataframe_records": [{"image": bad}, {"image": good}]})
    assert first["error"].startswith("not_an_image")
    assert (first["prediction"], first["prediction_index"], first["probability"]) == (None, None, None)
    assert second["error"] is None
    assert second["prediction"] in CLASSES


def test_texts_and_nulls_are_rows_as_any_others(address):
    file = base64.urlsafe_b64encode(encoded(noise(8, 6, 3))).decode().rstrip("=")
    uri = f"data:image/png;base64,{base64.b64encode(encoded(noise(8, 6, 3))).decode()}"
    rows = [{"image": file}, {"image": None}, {"image": uri}]
    for request in ({"dataframe_records": rows}, {"instances": rows}, {"inputs": {"image": [file, None, uri]}}):
        first, null, third = post(address, request)
        assert first["error"] is third["error"] is None
        assert first["prediction"] == third["prediction"] == CLASSES[truth(noise(1, 8, 6, 3)).argmax()]
        assert null["error"].startswith("empty")


def test_a_request_without_images_is_refused(address):
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(address, {"dataframe_records": [{"photo": "x"}]})
    assert refused.value.code == 400
