"""Runs that the jobs made, MLflow's server on them, and a page of a headless Chromium."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
START_SECONDS = 90
WAIT_MS = 30_000
# MLflow's assistant opens over the pages of whoever sees them for the first time.
SEEN_BEFORE = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
}
NO_USERS = "/mlflow/users/current"  # is asked for by every page, and is there only on servers with users


@dataclass(frozen=True)
class Made:
    """What the jobs made.

    Attributes:
        folder: Of all of it.
        runs: ``adam``, ``sgd`` (of two trainings), ``score`` -> run id.
        version: Of the dataset.
        accuracy: On the test split, of the training with adam.
    """

    folder: Path
    runs: dict[str, str]
    version: str
    accuracy: float


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser: that of the environment variable CHROMIUM, or the system's."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("there is no Chromium; type: apt-get install chromium, or say where it is: CHROMIUM=/path")
    return found


@pytest.fixture(scope="session")
def made(chromium, tmp_path_factory) -> Made:
    """Two trainings that differ, evaluated and promoted one after the other, and a scoring by the champion."""
    folder = tmp_path_factory.mktemp("ui")
    environment = {**os.environ, "LOGNAME": "ada", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}

    def job(name: str, *arguments: str) -> dict[str, Any]:
        command = [sys.executable, str(ROOT / "jobs" / f"{name}.py"), "--config", str(ROOT / "conf" / "digits.yaml")]
        places = ["--tracking.uri", f"sqlite:///{folder}/mlflow.db", "--dataset.root", str(folder / "datasets")]
        done = subprocess.run(
            [*command, *places, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=1200
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def evaluated(version: str, *gates: str) -> dict[str, Any]:
        model = f"models:/digits/{version}"
        return job("evaluate", "--evaluation.model", model, "--evaluation.gates", json.dumps(gates))

    version = job("ingest")["version"]
    adam = job("train", "--training.epochs", "4")
    sgd = ("--training.optimizer.name", "sgd", "--training.optimizer.learning_rate", "0.05")
    other = job("train", "--training.epochs", "4", *sgd)
    evaluated("2", "accuracy >= 0.5")
    first = evaluated("1", "accuracy >= 0.9")
    champion = ("--scoring.model", "models:/digits@champion", "--scoring.log_run", "true")
    score = job("score", *champion, "--scoring.output", str(folder / "scores"))
    runs = {"adam": adam["run_id"], "sgd": other["run_id"], "score": score["run_id"]}
    return Made(folder, runs, version, first["accuracy"])


@pytest.fixture(scope="session")
def server(made) -> Iterator[str]:
    """Address of an MLflow server on those runs, which ends with the session."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (
        open(made.folder / "server.log", "w") as log,
        subprocess.Popen(
            [*command, "--backend-store-uri", f"sqlite:///{made.folder}/mlflow.db"],
            cwd=made.folder, env={**os.environ, **quiet}, stdout=log, stderr=log,
        ) as process,
    ):  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(address, process, made.folder / "server.log")
            yield address
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"MLflow's server does not answer:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def browser(chromium) -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


class Pages:
    """MLflow's pages as a user sees them who has been there before.

    Args:
        page: Of the browser.
        address: Of the server.
        made: What the server has.
        screenshots: Where to pictures of the pages are written; None is nowhere.
    """

    def __init__(self, page: Any, address: str, made: Made, screenshots: str | None) -> None:
        self.page, self.address, self.made, self._screenshots = page, address, made, screenshots
        self.failed: list[str] = []
        page.on("response", self._answered)
        page.on("requestfailed", lambda request: self._failure(request.url, request.failure))
        page.on("pageerror", lambda error: self.failed.append(str(error)))

    def _answered(self, answer: Any) -> None:
        if answer.status >= 400:
            self._failure(answer.url, answer.status)

    def _failure(self, url: str, why: Any) -> None:
        aborted = "ERR_ABORTED" in str(why)  # by the page itself, when it is left
        if url.startswith(self.address) and not url.endswith(NO_USERS) and not aborted:
            self.failed.append(f"{url}: {why}")

    def open(self, path: str, height: int = 900) -> Any:
        """Open a page of the workflow "Model training"; returns it."""
        self.page.set_viewport_size({"width": 1440, "height": height})
        self.page.goto(f"{self.address}/#/{path}{'&' if '?' in path else '?'}workflowType=machine_learning")
        return self.page

    def run(self, name: str, tab: str = "", height: int = 900) -> Any:
        """Open a run's page."""
        return self.open(f"experiments/1/runs/{self.made.runs[name]}{tab}", height)

    def shoot(self, name: str, **options: Any) -> None:
        """Write a picture of the page, where pictures are wanted."""
        if self._screenshots:
            self.page.wait_for_timeout(1500)  # charts move into their place
            self.page.mouse.move(1439, 5)
            self.page.screenshot(path=Path(self._screenshots) / f"{name}.png", **options)


@pytest.fixture
def pages(browser, server, made) -> Iterator[Pages]:
    """Pages of a browser of one's own, of whose requests none may fail."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(WAIT_MS)
    remember = "forEach(([name, value]) => localStorage.setItem(name, value))"
    framed = "window.top !== window"  # a report, which has no storage
    context.add_init_script(f"{framed} || Object.entries({json.dumps(SEEN_BEFORE)}).{remember}")
    opened = Pages(context.new_page(), server, made, os.environ.get("SCREENSHOTS"))
    yield opened
    context.close()
    assert opened.failed == []
