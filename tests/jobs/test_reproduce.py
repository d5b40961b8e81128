"""A run trained again from its record: the same weights, bit by bit, or where they differ."""

import importlib
import json
from pathlib import Path

import mlflow
import pytest
import yaml

from convoy.tracking import provenance
from jobs import reproduce

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.spark, pytest.mark.long]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The current folder of these tests: no repository, whose files may change while they run."""
    folder = tmp_path_factory.mktemp("reproduce")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def uri(place):
    return f"sqlite:///{place}/mlflow.db"


@pytest.fixture(scope="module")
def original(spark, place, uri, ingested_digits):
    """Id of a run of one epoch, trained in this process."""
    arguments = [
        *("--config", str(ROOT / "conf" / "digits.yaml"), "--dataset.root", str(ingested_digits)),
        *("--tracking.uri", uri, "--training.checkpoint.folder", f"{place}/checkpoints"),
        *("--training.num_workers", "0", "--training.epochs", "1", "--training.seed", "3"),
        *("--tracking.report", "false", "--tracking.registered_model", "digits"),
    ]
    assert importlib.import_module("jobs.train").main(arguments) == 0
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    return run


@pytest.fixture
def command(uri, capsys):
    def run(*arguments):
        """Returns (exit status, the JSON line or None, stderr)."""
        capsys.readouterr()
        status = reproduce.main([*arguments, "--uri", uri])
        out, err = capsys.readouterr()
        return status, json.loads(out.splitlines()[-1]) if out else None, err

    return run


@pytest.fixture
def client(original, uri):
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient()


def rewrite(client, run_id, **training):
    """Change the logged configuration of a run; returns what it was."""
    text = Path(client.download_artifacts(run_id, provenance.CONFIG)).read_text()
    values = yaml.safe_load(text)
    values["training"] |= training
    client.log_text(run_id, yaml.safe_dump(values), provenance.CONFIG)
    return text


def test_a_run_reproduces_itself_bit_by_bit(command, original, client):
    run_id = original.info.run_id
    status, result, text = command(run_id[:12], "--strict")
    assert status == 0, text
    assert (result["job"], result["reproduces"], result["identical"]) == ("reproduce", run_id, True)
    assert result["weights_sha256"] == [original.data.tags["weights.sha256"]] * 2
    assert result["not_as_it_was"] == []
    assert "bitwise identical" in text
    new = client.get_run(result["run_id"])
    assert (new.data.tags[provenance.REPRODUCES], new.data.tags[provenance.IDENTICAL]) == (run_id, "true")
    assert new.data.params["training.seed"] == "3"
    assert new.data.params["dataset.version"] == original.data.tags["dataset.version"]
    assert new.data.metrics["loss"] == original.data.metrics["loss"]
    assert len(client.search_model_versions("name = 'digits'")) == 1  # no copy


def test_what_is_not_the_same_is_told_by_layer_and_by_how_much(command, original, client):
    run_id = original.info.run_id
    text = rewrite(client, run_id, seed=4)
    try:
        status, result, said = command(run_id)
    finally:
        client.log_text(run_id, text, provenance.CONFIG)
    assert (status, result["identical"], result["first_epoch"]) == (1, False, 1)
    layers = {layer["layer"]: layer for layer in result["layers"]}
    assert 0 < layers["c1"]["largest"] < 10
    assert all(0 < layer["different"] <= layer["values"] for layer in layers.values())
    assert "c1: " in said
    assert client.get_run(result["run_id"]).data.tags[provenance.IDENTICAL] == "false"
    assert result["metrics"]["val_loss"][0] == original.data.metrics["val_loss"]


def test_strict_refuses_other_packages_and_names_them(command, original, client):
    run_id = original.info.run_id
    packages = Path(client.download_artifacts(run_id, provenance.PACKAGES)).read_text()
    before = len(client.search_runs([original.info.experiment_id]))
    client.log_text(run_id, packages + "gone==1.0\n", provenance.PACKAGES)
    try:
        status, result, text = command(run_id, "--strict")
    finally:
        client.log_text(run_id, packages, provenance.PACKAGES)
    assert (status, result) == (2, None)
    assert "cannot be reproduced strictly: gone 1.0, here none" in text.splitlines()[-1]
    assert len(client.search_runs([original.info.experiment_id])) == before


def test_other_data_is_refused(command, original, client, tmp_path):
    run_id = original.info.run_id
    assert command(run_id, "--root", str(tmp_path))[0] == 2
    client.set_tag(run_id, provenance.FINGERPRINT, "0" * 64)
    try:
        status, _, text = command(run_id)
    finally:
        client.set_tag(run_id, provenance.FINGERPRINT, original.data.tags[provenance.FINGERPRINT])
    assert status == 2
    assert "expected 000000000000; give the location of the dataset with --root" in text


def test_a_run_without_a_record_names_what_it_lacks(command, original, client):
    bare = client.create_run(original.info.experiment_id, run_name="bare").info.run_id
    status, result, text = command("bare")
    assert (status, result) == (2, None)
    (line,) = text.splitlines()
    assert line.startswith(f"error: run {bare} cannot be reproduced: it lacks the tag dataset.name, ")
    assert f"the tag {provenance.WEIGHTS_SHA256}, the file {provenance.CONFIG}; it has no trained weights" in line
    for tag in (provenance.DATASET, provenance.VERSION, provenance.FINGERPRINT, provenance.WEIGHTS_SHA256):
        client.set_tag(bare, tag, "x")
    assert f"it lacks the file {provenance.CONFIG}; an older Convoy created it" in command("bare")[2]


def test_a_configuration_of_another_convoy_is_one_line(command, original, client):
    run_id = original.info.run_id
    text = rewrite(client, run_id, unheard_of=1)
    try:
        status, _, said = command(run_id)
    finally:
        client.log_text(run_id, text, provenance.CONFIG)
    assert status == 2
    assert f"config.yaml of run {run_id} cannot be read by this Convoy: unknown field" in said
