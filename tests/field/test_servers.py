"""MLflow servers as others run them: named by the environment, behind gateways, of other versions."""

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

import convoy
from convoy.config import Config, TrackingConfig
from convoy.config.tracking import setting_of
from convoy.errors import TrackingError
from convoy.tracking import connection, logged_models, registry
from convoy.tracking.artifact_store import _MODULES, first_artifacts, problem_of
from convoy.tracking.lifecycle import training_run
from convoy.tracking.model_io import load_package
from convoy.training.distributed.fresh_process import environment
from convoy.training.distributed.horovod_env import driver_environment
from convoy.training.loop import TrainedModel
from convoy.workflows.train import _kept_on_failure
from tests.field.inputs import servers as inputs
from tests.logged import connect, log_images, manifest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def _restored():
    """Point MLflow back at the store of the other tests."""
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    connection._said.clear()
    yield
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


# What the environment names


def test_the_environment_counts_where_the_configuration_is_silent(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example:5000")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "databricks-uc")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "/Users/anna/digits")
    found = TrackingConfig()
    assert (found.uri, found.registry_uri, found.experiment) == (
        "http://tracking.example:5000", "databricks-uc", "/Users/anna/digits",
    )  # fmt: skip
    (tmp_path / "experiment.yaml").write_text("tracking: {uri: sqlite:///own.db}\n")
    given = convoy.load(tmp_path / "experiment.yaml").tracking
    assert (given.uri, given.experiment) == ("sqlite:///own.db", "/Users/anna/digits")
    assert setting_of("uri", found.uri) == "MLFLOW_TRACKING_URI"
    assert setting_of("uri", given.uri) == "tracking.uri"


def test_an_empty_variable_is_none(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.setenv(name, "")
    found = TrackingConfig()
    assert (found.uri, found.registry_uri, found.experiment) == ("sqlite:///mlflow.db", None, "convoy")


def test_an_experiment_may_be_given_by_its_id(monkeypatch, tmp_path):
    connect(tmp_path)
    known = connection.experiment_id("known")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", known)
    assert connection.experiment_id(TrackingConfig().experiment) == known
    assert setting_of("experiment", TrackingConfig().experiment) == "MLFLOW_EXPERIMENT_ID"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "12345")
    with pytest.raises(TrackingError, match=r"MLFLOW_EXPERIMENT_ID 'id:12345': there is no experiment with that id"):
        connection.experiment_id(TrackingConfig().experiment)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "named")
    assert TrackingConfig().experiment == "named"


def test_which_store_won_is_said_once_and_the_environment_is_left_as_it_was(monkeypatch, tmp_path, capsys):
    uri = connect(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for _ in range(2):
        connection.connect(TrackingConfig().uri)
    assert capsys.readouterr().err == f"tracking: {uri} (from MLFLOW_TRACKING_URI)\n"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://anna:secret@elsewhere.example")
    connection.connect(uri)
    said = capsys.readouterr().err
    assert said == f"tracking: {uri} (from tracking.uri, which takes precedence over MLFLOW_TRACKING_URI)\n"
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://anna:secret@elsewhere.example"
    assert mlflow.get_tracking_uri() == uri


def test_a_store_that_no_variable_names_leaves_none_behind(tmp_path):
    connect(tmp_path)
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert TrackingConfig().uri == "sqlite:///mlflow.db"


def test_an_error_names_the_variable(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"^MLFLOW_TRACKING_URI 'http://127.0.0.1:9' does not answer"):
        connection.connect(TrackingConfig().uri)


def test_runs_are_listed_from_the_store_of_the_environment(tmp_path):
    uri = connect(tmp_path)
    connection.experiment_id("curves")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "jobs.runs", "list"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [f"tracking: {uri} (from MLFLOW_TRACKING_URI)", "no runs"]


def test_ranks_get_neither_the_address_nor_the_credentials():
    secret = {"MLFLOW_TRACKING_URI": "http://a", "MLFLOW_TRACKING_TOKEN": "b", "DATABRICKS_TOKEN": "c", "MY": "own"}
    assert driver_environment(secret, local=False) == {"MY": "own"}
    local = driver_environment(secret, local=True)  # over the environment of a Spark task, which may have them
    assert {name for name, value in local.items() if value} == {"MY"}
    assert set(local) == set(secret)
    assert "MLFLOW_TRACKING_TOKEN" not in environment(secret, [], None)


@pytest.mark.e2e
@pytest.mark.long
def test_python_workers_of_a_new_session_do_not_get_them(tmp_path):
    code = (
        "from convoy.cluster.spark import session\n"
        "from convoy.config import SparkConfig\n"
        "import os\n"
        "with session('test', SparkConfig(master='local[1]')) as spark:\n"
        "    [found] = spark.sparkContext.parallelize([0], 1).map(lambda _: dict(os.environ)).collect()\n"
        "given = [value for name, value in found.items() if value and name.startswith('MLFLOW_TRACKING_')]\n"
        "print(given, os.environ['MLFLOW_TRACKING_TOKEN'])\n"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_TOKEN": "t-1", "MLFLOW_TRACKING_URI": "http://anna:b@c"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300
    )
    assert done.stdout.strip() == "[] t-1", done.stderr


# How a server is reached


@pytest.fixture(scope="module")
def empty():
    with inputs.empty_store() as address:
        yield address


def test_a_prefix_and_a_token(empty, monkeypatch):
    with inputs.proxy(inputs.under_a_prefix(empty)) as address:
        with pytest.raises(TrackingError, match="rejects the credentials"):
            connection.connect(address)
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret-token-1")
        connection.connect(address)
        with pytest.raises(TrackingError, match=r"has no MLflow API \(status 404\).*path prefix"):
            connection.connect(address.removesuffix("/tools/mlflow"))


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_certificate_of_ones_own_authority(empty, monkeypatch, tmp_path):
    pytest.importorskip("cryptography", reason="a part of MLflow 3")
    authority, own = inputs.certificates(tmp_path)
    with inputs.proxy(inputs.Proxy(empty), own) as address:
        with pytest.raises(TrackingError, match=r"certificate verify failed.*MLFLOW_TRACKING_SERVER_CERT_PATH"):
            connection.connect(address)
        with monkeypatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
            connection.connect(address)
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "none.pem"))
        with pytest.raises(TrackingError, match=r"none\.pem"):
            connection.connect(address)
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(authority))
        connection.connect(address)


@pytest.mark.long
def test_a_first_answer_after_eight_seconds(empty):
    with inputs.proxy(inputs.slow_at_first(empty, 8)) as address:
        connection.connect(address)


def test_a_page_in_place_of_an_answer(empty):
    with (
        inputs.proxy(inputs.login_page(empty)) as address,
        pytest.raises(TrackingError, match="does not answer with JSON, but") as refused,
    ):
        connection.connect(address)
    assert "\n" not in str(refused.value)


# Where files go


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("/srv/nowhere/mlruns/1", "is a folder on the machine of the server tracking.example, which does not exist"),
        ("file:///srv/nowhere/mlruns/1", "is a folder on the machine of the server tracking.example"),
        ("s3://bucket/1", "needs a package that is not installed (pip install boto3)"),
        ("gs://bucket/1", "needs a package that is not installed (pip install google-cloud-storage)"),
    ],
)
def test_an_artifact_location_that_cannot_be_written_is_found_before(location, said, monkeypatch):
    for scheme, (_, package) in _MODULES.items():  # they may be installed here
        monkeypatch.setitem(_MODULES, scheme, ("no_such_parent.no_such_module", package))
    assert said in problem_of(location, "http://tracking.example:5000")


def test_an_artifact_location_that_can_be_written(tmp_path):
    for location in ("mlflow-artifacts:/1", str(tmp_path / "1"), (tmp_path / "1").as_uri()):
        assert problem_of(location, "http://tracking.example:5000") is None
    assert problem_of(str(tmp_path / "new" / "1"), "http://127.0.0.1:5000") is None
    (tmp_path / "file").write_text("")
    assert "cannot be written to" in problem_of(str(tmp_path / "file" / "1"), "sqlite:///a.db")


def test_what_shows_only_in_writing_is_one_line(tmp_path, monkeypatch):
    """As with an object store without credentials, or with ones that may only read."""
    connect(tmp_path)
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("full", artifact_location="/proc/version/1")
    monkeypatch.setattr("convoy.tracking.artifact_store.problem_of", lambda *_: None)
    config = replace(Config(), tracking=TrackingConfig(mlflow.get_tracking_uri(), "full"))
    with (
        pytest.raises(
            TrackingError, match=r"artifacts cannot be written to .*/proc/version/1/.*give the driver"
        ) as refused,
        training_run(config, tmp_path, manifest(), "app"),
    ):
        pass
    assert "\n" not in str(refused.value)
    [run] = client.search_runs([experiment])
    assert run.info.status == "FAILED"
    with pytest.raises(KeyboardInterrupt), first_artifacts(run.info.run_id):
        raise KeyboardInterrupt


def test_a_trained_model_that_cannot_be_logged_is_kept(tmp_path, capsys):
    trained = TrainedModel(b"the file", "0" * 64)
    with pytest.raises(ConnectionError), _kept_on_failure(trained, tmp_path / "run"):
        raise ConnectionError("the server is gone")
    assert (tmp_path / "run" / "model.keras").read_bytes() == b"the file"
    assert str(tmp_path / "run" / "model.keras") in capsys.readouterr().err
    with _kept_on_failure(trained, tmp_path / "other"):
        pass
    assert not (tmp_path / "other").exists()


# Stages


@pytest.mark.parametrize("stage", ["Production", "staging", "None"])
def test_a_stage_is_explained(animals, stage):
    connection.connect(animals.store)
    name = registry.version_of(animals.uri)[0]
    alias = "champion" if stage == "Production" else stage.lower()
    with pytest.raises(TrackingError, match=f"aliases; .*models:/{name}@{alias}; set it") as refused:
        registry.resolve(f"models:/{name}/{stage}")
    assert "\n" not in str(refused.value)


@pytest.mark.filterwarnings("ignore:.*model registry stages")
def test_the_version_in_a_stage_is_named(animals, tmp_path):
    connect(tmp_path)
    uri = log_images(mlflow.get_tracking_uri()).uri
    name, version = registry.version_of(uri)
    mlflow.MlflowClient().transition_model_version_stage(name, version, "Production")
    with pytest.raises(TrackingError, match=f"version {version} is in that stage: give models:/{name}/{version}, or"):
        registry.resolve(f"models:/{name}/Production")


# Real servers


@pytest.fixture(scope="module")
def current(tmp_path_factory):
    """A server of the installed MLflow."""
    with inputs.mlflow_server(tmp_path_factory.mktemp("current")) as address:
        yield address


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A server of MLflow 2.13."""
    python = inputs.old_python(Path(os.environ.get("TMPDIR", "/tmp")) / f"convoy-mlflow-{inputs.OLD}")
    if python is None:
        pytest.skip(f"MLflow {inputs.OLD} cannot be installed here: it needs uv beside Python, and a package index")
    with inputs.mlflow_server(tmp_path_factory.mktemp("old"), python) as address:
        yield address


@contextlib.contextmanager
def as_old(address):
    with inputs.proxy(inputs.without_logged_models(address)) as shown:
        yield shown


@pytest.mark.e2e
@pytest.mark.long
def test_a_server_without_models_with_ids_keeps_the_model(current):
    with as_old(current) as address:
        keeps_the_model(address, with_id=False)
    keeps_the_model(current, with_id=logged_models.HAVE_IDS)


@pytest.mark.e2e
@pytest.mark.long
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


@pytest.mark.e2e
@pytest.mark.long
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
