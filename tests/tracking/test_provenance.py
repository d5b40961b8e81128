"""What a run tells so that it can be repeated, and what it must not tell."""

import json
import os
import subprocess
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml

from convoy.config import Config, ModelConfig
from convoy.config.loading import parse
from convoy.tracking import provenance
from convoy.tracking.presentation import flatten
from convoy.tracking.redaction import text_without_secrets
from tests.logged import connect, manifest, new_run

CONF = sorted((Path(__file__).resolve().parents[2] / "conf").rglob("*.yaml"))
LAYERS = [{"conv2d": {"filters": 8, "kernel_size": [3, 5]}}, "flatten", {"dense": {"activation": "softmax", "x": None}}]
CANARY = "canary-5f1d0c"


def texts(config: Config) -> dict[str, str]:
    return {name: str(value) for name, value in flatten(asdict(config)).items()}


def read_back(config: Config, folder: Path) -> Config:
    file = folder / "config.yaml"
    file.write_text(provenance.config_text(config, "v7"), encoding="utf-8")
    return parse("train", "", ["--config", str(file)])


@pytest.mark.parametrize("file", CONF, ids=[file.stem for file in CONF])
def test_the_logged_configuration_is_a_file_that_trains_the_same_again(file, tmp_path):
    config = parse("train", "", ["--config", str(file)])
    found, expected = read_back(config, tmp_path), replace(config, dataset=replace(config.dataset, version="v7"))
    assert found == expected
    assert texts(found) == texts(expected)  # 1 and 1.0 would be different parameters of two runs


def test_own_layers_odd_numbers_and_texts_come_back_too(tmp_path):
    config = parse(
        "train",
        "",
        [
            *("--model.layers", json.dumps(LAYERS), "--training.optimizer.learning_rate", "1e-7"),
            *("--dataset.class_fractions", '{"0": 0.5, "ähm: x": 0.25}', "--tracking.experiment", "yes # 'no'"),
            *("--training.resume", "a" * 32, "--dataset.name", "null"),
        ],
    )
    assert config.model == ModelConfig(layers=LAYERS)
    training, dataset = replace(config.training, resume=None), replace(config.dataset, version="v7")
    assert read_back(config, tmp_path) == replace(config, training=training, dataset=dataset)


def git(folder, *arguments):
    identity = ("-c", "user.name=n", "-c", "user.email=e@x")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A clean repository, which is the current folder."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a.py").write_text("rate = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder of the tests' store."""
    folder = tmp_path_factory.mktemp("record")
    connect(folder)
    return folder


def logged(place, config=None):
    """Log a record to a new run; returns (its tags, path -> text of its files)."""
    run_id = new_run(f"sqlite:///{place}/mlflow.db")
    provenance.log_record(run_id, config or Config(), manifest())
    client = mlflow.MlflowClient()
    folder = Path(client.download_artifacts(run_id, ""))
    files = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}
    return client.get_run(run_id).data.tags, files


def test_a_run_tells_its_configuration_packages_and_machine(place, repository):
    tags, files = logged(place)
    assert set(files) == {provenance.CONFIG, provenance.PACKAGES, provenance.MACHINE}
    assert yaml.safe_load(files[provenance.CONFIG])["dataset"]["version"] == manifest().version
    packages = provenance.read_packages(files[provenance.PACKAGES])
    assert packages == provenance.installed()
    assert (packages["numpy"], packages["mlflow"]) == (np.__version__, version("mlflow"))
    assert json.loads(files[provenance.MACHINE]) == provenance.machine()
    assert provenance.CHANGES_SHA256 not in tags


def test_cores_are_those_that_the_process_may_use():
    """TensorFlow makes as many threads, and their number decides in which order sums are added up."""
    before = os.sched_getaffinity(0)
    assert provenance.machine()["cpus"] == str(len(before))
    try:
        os.sched_setaffinity(0, {min(before)})
        assert provenance.machine()["cpus"] == "1"
    finally:
        os.sched_setaffinity(0, before)


def test_what_is_not_committed_is_told_without_what_is_secret(place, repository, monkeypatch):
    monkeypatch.setenv("DATABRICKS_TOKEN", f"{CANARY}-in-the-environment")
    monkeypatch.setenv("HARMLESS", f"{CANARY}-of-no-interest")
    (repository / "a.py").write_text(
        "rate = 2\n"
        f"connect('{CANARY}-in-the-environment')\n"
        f'password = "{CANARY}"\n'
        f"spark.hadoop.fs.s3a.secret.key: {CANARY}\n"
        f"url = 'https://user:{CANARY}@example.org/x'\n"
        f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----\n"
    )
    assert provenance.git_commit().endswith("-dirty")
    conf = {"spark.hadoop.fs.s3a.secret.key": CANARY, "spark.executor.memory": "1g"}
    tags, files = logged(place, replace(Config(), spark=replace(Config().spark, conf=conf)))
    diff = files[provenance.CHANGES]
    assert "+rate = 2" in diff
    assert "-rate = 1" in diff
    assert "https://example.org/x" in diff
    assert tags[provenance.CHANGES_SHA256] == provenance.uncommitted_sha256() != ""
    assert yaml.safe_load(files[provenance.CONFIG])["spark"]["conf"] == {
        "spark.hadoop.fs.s3a.secret.key": "(redacted)",
        "spark.executor.memory": "1g",
    }
    stored = [
        *files.values(),
        *tags.values(),
        *(path.read_bytes().decode(errors="replace") for path in everything(place)),
    ]
    assert not any(CANARY in text for text in stored)


def everything(folder):
    """All files that MLflow has written: the database, too."""
    return [file for file in folder.rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    "text", ["rate = 0.1", "def tokens(self): ...", "a = b['key']", "https://example.org", "-- the secret of speed"]
)
def test_what_is_not_secret_stays(text):
    assert text_without_secrets(text) == text


def test_outside_of_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_commit() == provenance.uncommitted_sha256() == ""


def test_a_file_of_initial_weights_is_known_by_its_content(tmp_path):
    assert provenance.tags_of_weights(None) == {}
    tags = []
    for content in (b"a", b"b", b"a"):
        (tmp_path / "weights").write_bytes(content)
        tags.append(provenance.tags_of_weights(str(tmp_path / "weights")))
    assert tags[0] == tags[2] != tags[1]


def test_a_run_that_is_gone_on_with_gets_the_record_of_now(place, repository):
    run_id = new_run(f"sqlite:///{place}/mlflow.db")
    for epochs in (1, 2):
        training = replace(Config().training, epochs=epochs)
        provenance.log_record(run_id, replace(Config(), training=training), manifest())
    text = Path(mlflow.MlflowClient().download_artifacts(run_id, provenance.CONFIG)).read_text()
    assert yaml.safe_load(text)["training"]["epochs"] == 2
