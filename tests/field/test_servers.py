"""MLflow servers as others run them: named by the environment, behind gateways, of other versions."""

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
from convoy.errors import ConfigError, TrackingError
from convoy.tracking import connection, registry
from convoy.tracking.artifact_store import _MODULES, first_artifacts, problem_of
from convoy.tracking.lifecycle import training_run
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
    with monkeypatch.context() as without:
        without.delenv("MLFLOW_EXPERIMENT_NAME")
        assert convoy.load(tmp_path / "experiment.yaml").tracking.experiment == "convoy"
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


def test_a_certificate_of_the_client(empty, monkeypatch, tmp_path):
    pytest.importorskip("cryptography", reason="a part of MLflow 3")
    authority, own = inputs.certificates(tmp_path)
    both = tmp_path / "client.pem"
    both.write_bytes(own[0].read_bytes() + own[1].read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(authority))
    with inputs.proxy(inputs.Proxy(empty, authority=authority), own) as address:
        with pytest.raises(TrackingError) as refused:
            connection.connect(address)
        assert "\n" not in str(refused.value)
        monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(both))
        connection.connect(address)


def test_a_registry_elsewhere_is_reached_before_a_training(empty, monkeypatch):
    gone = "http://127.0.0.1:9"
    with pytest.raises(TrackingError, match=rf"^tracking.registry_uri '{gone}' does not answer"):
        connection.connect(empty, gone)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", gone)
    with pytest.raises(TrackingError, match=rf"^MLFLOW_REGISTRY_URI '{gone}' does not answer"):
        connection.connect(empty, TrackingConfig().registry_uri)
    with inputs.proxy(inputs.under_a_prefix(empty)) as address:
        with pytest.raises(TrackingError, match=rf"^tracking.registry_uri '{address}' rejects the credentials"):
            connection.connect(empty, address)
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret-token-1")
        connection.connect(empty, address)
        assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri()) == (empty, address)


def test_names_of_unity_catalog_have_three_parts(monkeypatch):
    assert TrackingConfig("databricks", registered_model="digits", registry_uri="databricks")
    name = "main.default.digits"
    found = TrackingConfig("databricks", registered_model=name, registry_uri="databricks-uc")
    assert registry.version_of(f"models:/{name}/3") == (name, "3")
    assert registry.alias_of(f"models:/{name}@champion") == (found.registered_model, "champion")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "databricks-uc")
    for wrong in ("digits", "main.digits", "main..digits"):
        with pytest.raises(ConfigError, match=rf"registered_model is '{wrong}'; expected catalog\.schema\.model"):
            TrackingConfig("databricks", registered_model=wrong)


def test_a_page_after_the_session_has_expired(empty):
    """A gateway answers like this in the middle of a training."""
    settings = inputs.Proxy(empty)
    with inputs.proxy(settings) as address:
        connection.connect(address)
        settings.page = inputs.login_page(empty).page
        with pytest.raises(TrackingError, match=r"does not answer with JSON, but .*MLFLOW_TRACKING_TOKEN") as refused:
            connection.experiment_id("digits")
    assert "\n" not in str(refused.value)


@pytest.mark.long
def test_a_first_answer_after_eight_seconds(empty):
    with inputs.proxy(inputs.slow_at_first(empty, 8)) as address:
        connection.connect(address)


def test_a_server_that_starts_with_the_first_request(empty, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    with (
        inputs.proxy(inputs.Proxy(empty, busy=2)) as address,
        pytest.raises(TrackingError, match=r"\(status 503\); .* raise .*MLFLOW_HTTP_REQUEST_MAX_RETRIES"),
    ):
        connection.connect(address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    with inputs.proxy(inputs.Proxy(empty, busy=2)) as address:
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
