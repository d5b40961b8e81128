"""Jobs and models on real MLflow servers of two versions: plain, behind gateways, with users, without artifacts."""

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from convoy.config import Config, TrackingConfig
from convoy.errors import TrackingError
from convoy.tracking import connection, logged_models
from convoy.tracking.artifact_store import check_artifact_store
from convoy.tracking.lifecycle import training_run
from convoy.tracking.model_io import load_package
from tests.field.inputs import servers as inputs
from tests.logged import log_images, manifest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def _restored():
    """Point MLflow back at the store of the other tests."""
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    connection._said.clear()
    yield
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


@pytest.fixture(scope="module")
def current(tmp_path_factory):
    """A server of the installed MLflow."""
    with inputs.mlflow_server(tmp_path_factory.mktemp("current")) as address:
        yield address


@pytest.fixture(scope="module")
def old_python():
    """A Python with MLflow 2.13."""
    python = inputs.old_python(Path(os.environ.get("TMPDIR", "/tmp")) / f"convoy-mlflow-{inputs.OLD}")
    if python is None:
        pytest.skip(f"MLflow {inputs.OLD} cannot be installed here: it needs uv beside Python, and a package index")
    return python


@pytest.fixture(scope="module")
def old(tmp_path_factory, old_python):
    """A server of MLflow 2.13."""
    with inputs.mlflow_server(tmp_path_factory.mktemp("old"), old_python) as address:
        yield address


@contextlib.contextmanager
def as_old(address):
    with inputs.proxy(inputs.without_logged_models(address)) as shown:
        yield shown


def test_a_server_without_models_with_ids_keeps_the_model(current):
    with as_old(current) as address:
        keeps_the_model(address, with_id=False)
    keeps_the_model(current, with_id=logged_models.HAVE_IDS)


def test_a_server_of_mlflow_2_keeps_the_model(old):
    keeps_the_model(old, with_id=False)


def keeps_the_model(address, *, with_id):
    connection.connect(address)
    assert logged_models.have_ids() == with_id
    logged = log_images(address)
    package = load_package(logged.uri)
    assert package.classes == manifest().classes
    assert (package.model_id is not None) == with_id
    assert load_package(f"runs:/{package.run_id}/model").keras_file == package.keras_file


@pytest.mark.parametrize("which", ["current", "old"])
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_server_behind_a_gateway_keeps_the_model(which, request, monkeypatch, tmp_path):
    """Over TLS with an authority of one's own, under a prefix, with a token: runs, artifacts and the registry."""
    target = request.getfixturevalue(which)
    authority, own = inputs.certificates(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(authority))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret-token-1")
    with inputs.proxy(inputs.under_a_prefix(target), own) as address:
        keeps_the_model(address, with_id=which == "current" and logged_models.HAVE_IDS)


@pytest.mark.parametrize("which", ["current", "old"])
def test_users_of_a_server_with_basic_auth(which, request, monkeypatch, tmp_path):
    if which == "current":
        pytest.importorskip("flask_wtf", reason="MLflow's app basic-auth needs Flask-WTF")
    python = sys.executable if which == "current" else request.getfixturevalue("old_python")
    with inputs.with_users(tmp_path, python) as address:
        with pytest.raises(TrackingError, match=r"rejects the credentials \(status 401"):
            connection.connect(address)
        sign_in(monkeypatch, "anna", "wrong")
        with pytest.raises(TrackingError, match=r"status 401.*correct MLFLOW_TRACKING_USERNAME"):
            connection.connect(address)
        sign_in(monkeypatch, "anna", "a long secret")
        keeps_the_model(address, with_id=which == "current" and logged_models.HAVE_IDS)
        sign_in(monkeypatch, "ben", "another secret")  # may read what anna has
        connection.connect(address)
        assert load_package("models:/animals/1").classes == manifest().classes
        config = replace(Config(), tracking=TrackingConfig(address, "animals"))
        with (
            pytest.raises(TrackingError, match=r"rejects the credentials \(status 403: Permission denied"),
            training_run(config, tmp_path, manifest(), "app"),
        ):
            pass
        config = replace(config, tracking=TrackingConfig(address, "his own"))
        with training_run(config, tmp_path, manifest(), "app") as run:
            pass
        assert mlflow.MlflowClient().get_run(run.run_id).info.status == "FINISHED"


def sign_in(monkeypatch, user, password):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)


@pytest.mark.parametrize("which", ["current", "old"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--no-serve-artifacts", "--default-artifact-root", "/proc/version/1"), "is a file"),
        (("--artifacts-destination", "/proc/version/1"), "artifacts cannot be written to mlflow-artifacts:"),
    ],
)
def test_an_artifact_root_that_cannot_be_written_is_found_before_training(which, request, tmp_path, options, said):
    """That of the driver, and that of the server itself."""
    python = sys.executable if which == "current" else request.getfixturevalue("old_python")
    with inputs.mlflow_server(tmp_path, python, *options) as address:
        connection.connect(address)
        config = replace(Config(), tracking=TrackingConfig(address, "digits"))
        with pytest.raises(TrackingError, match=said) as refused:  # noqa: PT012 - the two checks before a training
            check_artifact_store(connection.experiment_id("digits"))
            with training_run(config, tmp_path, manifest(), "app"):
                raise AssertionError("the training has begun")
    assert "\n" not in str(refused.value)


def test_jobs_on_a_server_of_mlflow_2(old, tmp_path):
    """Train, evaluate with a gate, and score with a run, in processes that only the environment leads to the server."""
    config = tmp_path / "digits.yaml"
    lines = (ROOT / "conf" / "digits.yaml").read_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if "uri: sqlite" not in line))
    environment = {**os.environ, "MLFLOW_TRACKING_URI": old, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    results = {}
    for job, *arguments in (
        ("ingest",),
        ("train", "--training.num_workers", "0", "--training.epochs", "1", "--tracking.report", "false"),
        ("evaluate", "--evaluation.gates", '["accuracy > 0.5"]'),
        ("score", "--scoring.log_run", "true"),
    ):
        command = [sys.executable, "-m", f"jobs.{job}", "--config", str(config), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=500)
        assert done.returncode == 0, done.stderr
        *others, line = done.stdout.splitlines()
        assert not (others and logged_models.HAVE_IDS)  # addresses of runs, which MLflow 2 prints to stdout
        results[job] = json.loads(line)
        if job == "train":
            assert f"run {results[job]['run_id']} in experiment 'digits' at {old}" in done.stderr
            assert ("older than MLflow 3" in done.stderr) == logged_models.HAVE_IDS
    client = mlflow.MlflowClient(old, old)
    run = client.get_run(results["train"]["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_accuracy"] == pytest.approx(results["evaluate"]["accuracy"])
    assert results["evaluate"]["champion"] == results["train"]["model_version"] == "1"
    assert client.get_run(results["score"]["run_id"]).data.metrics["score_rows"] == results["score"]["rows"] == 171
