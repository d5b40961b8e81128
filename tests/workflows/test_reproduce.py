"""What a run is trained again with, and what is not as it was."""

from dataclasses import replace

import pytest

from convoy.config import Config, SparkConfig, TrackingConfig
from convoy.config.loading import parse
from convoy.errors import ConfigError
from convoy.runs.difference import Environment
from convoy.tracking import provenance
from convoy.tracking.run_record import RunRecord
from convoy.workflows.reproduce import Overrides, configuration, environment_mismatches

RUN = RunRecord("a" * 32, "run", "curves", "FINISHED", 0, 1, {}, {}, {provenance.VERSION: "v7"})
URI = "sqlite:///work/mlflow.db"


def again(config, **where):
    return configuration(RUN, provenance.config_text(config, "v7"), URI, Overrides(**where))


def test_all_but_the_place_is_as_it_was(capsys):
    config = parse("train", "", ["--training.seed", "5", "--training.num_workers", "3", "--model.name", "mlp"])
    tracking = TrackingConfig(uri="http://elsewhere", experiment="moved", registered_model="digits")
    found = again(replace(config, tracking=tracking))
    assert (found.training, found.model, found.source) == (config.training, config.model, config.source)
    assert found.dataset == replace(config.dataset, version="v7")
    assert found.tracking == TrackingConfig(uri=URI, experiment="curves", registered_model=None)
    assert capsys.readouterr().err == ""
    moved = again(config, root="/data", master="local[7]")
    assert (moved.dataset.root, moved.spark.master) == ("/data", "local[7]")


def test_secrets_that_were_not_logged_are_left_out_and_named(capsys):
    conf = {"spark.hadoop.fs.s3a.secret.key": "hunter2", "spark.executor.memory": "1g"}
    found = again(replace(Config(), spark=SparkConfig(conf=conf)))
    assert found.spark.conf == {"spark.executor.memory": "1g"}
    assert "spark.conf lacks spark.hadoop.fs.s3a.secret.key" in capsys.readouterr().err


def test_a_configuration_that_is_not_known_here():
    with pytest.raises(ConfigError, match=f"config.yaml of run {'a' * 32} cannot be read .* 'training.sed'"):
        configuration(RUN, "training: {sed: 1}\n", URI, Overrides())


def test_what_is_not_as_it_was_is_told(monkeypatch, capsys):
    monkeypatch.setattr(provenance, "git_commit", lambda: "c1-dirty")
    monkeypatch.setattr(provenance, "uncommitted_sha256", lambda: "d1")
    run = replace(RUN, tags={provenance.COMMIT: "c1-dirty", provenance.CHANGES_SHA256: "d1"})
    same = Environment(provenance.installed(), provenance.machine())
    assert environment_mismatches(run, same) == []
    more = {**provenance.installed(), "numpy": "0.1", "gone": "2"}
    other = Environment(more, {**provenance.machine(), "python": "3.9", "processor": "Z80"})
    assert environment_mismatches(run, other) == [
        f"Python 3.9, here {provenance.machine()['python']}",
        "gone 2, here none",
        f"numpy 0.1, here {provenance.installed()['numpy']}",
    ]
    assert "another machine: processor Z80" in capsys.readouterr().err
    other = {**provenance.machine(), "onednn": "unknown"}
    assert environment_mismatches(run, Environment(provenance.installed(), other)) == [
        f"oneDNN unknown, here {provenance.machine()['onednn']} (TF_ENABLE_ONEDNN_OPTS)"
    ]
    older = {name: value for name, value in provenance.machine().items() if name != "vectors"}
    assert environment_mismatches(run, Environment(provenance.installed(), older)) == []
    assert capsys.readouterr().err == ""
    assert environment_mismatches(run, Environment(provenance.installed(), {**older, "vectors": "avx512f"})) == []
    assert capsys.readouterr().err.startswith("another machine: vectors avx512f, here ")
    fewer = {name: version for name, version in provenance.installed().items() if name != "numpy"}
    assert environment_mismatches(run, Environment(fewer, provenance.machine())) == []
    assert environment_mismatches(replace(run, tags={provenance.COMMIT: "c0"}), same) == ["code c0, here c1-dirty"]
    (changed,) = environment_mismatches(replace(run, tags={**run.tags, provenance.CHANGES_SHA256: "d0"}), same)
    assert changed == "uncommitted changes are not those of environment/uncommitted.diff"
    assert "which the run did not record" in environment_mismatches(run, Environment())[0]
