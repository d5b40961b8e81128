"""An experiment from one command: dataset, parent run, children, chart."""

import csv
import importlib
import io
import json
from pathlib import Path

import mlflow
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.spark, pytest.mark.long]

VARIANTS = """
experiment:
  variants:
    adam: {}
    diverges: {training.optimizer.name: sgd, training.optimizer.learning_rate: 1e38}
    slow: {training.optimizer.name: sgd, training.optimizer.learning_rate: 1e-5}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment")
    text = (ROOT / "conf" / "digits.yaml").read_text() + VARIANTS  # it has a registered_model
    (folder / "experiment.yaml").write_text(text)
    return folder


def start(place, *arguments):
    """Run the job in this process, and its session; returns the exit status."""
    return importlib.import_module("jobs.experiment").main(
        [
            *("--config", f"{place}/experiment.yaml", "--dataset.root", f"{place}/datasets"),
            *("--tracking.uri", f"sqlite:///{place}/mlflow.db", "--training.checkpoint.folder", f"{place}/checkpoints"),
            *("--training.num_workers", "0", "--training.epochs", "1", "--tracking.report", "false", *arguments),
        ]
    )


@pytest.fixture(scope="module")
def done(spark, place):
    """What the job printed: (its JSON line, stderr)."""
    with pytest.MonkeyPatch.context() as patch:
        out, err = io.StringIO(), io.StringIO()
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", err)
        status = start(place)
    assert status == 0, err.getvalue()
    return json.loads(out.getvalue().splitlines()[-1]), err.getvalue()


@pytest.fixture(scope="module")
def client(done, place):
    mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
    return mlflow.MlflowClient()


def children(client, parent):
    filter_string = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    return client.search_runs([parent.info.experiment_id], filter_string, order_by=["attributes.start_time ASC"])


def artifact(client, run_id, name):
    return Path(client.download_artifacts(run_id, name))


def test_the_result_has_a_row_for_each_variant_and_says_which_failed(done):
    result, text = done
    assert result["job"] == "experiment"
    adam, diverges, slow = result["variants"]
    assert [row["variant"] for row in (adam, diverges, slow)] == ["adam", "diverges", "slow"]
    assert adam["test_accuracy"] > 0.5 > slow["test_accuracy"]
    assert adam["failure"] is slow["failure"] is None
    assert diverges["failure"].startswith("failed: the loss is nan in epoch 1")
    assert "val_accuracy" not in diverges
    table = [line for line in text.splitlines() if line.startswith(("adam ", "diverges ", "slow "))]
    assert f"{adam['test_accuracy']:.4f}" in table[0]
    assert "the loss is nan" in table[1]


def test_the_dataset_is_made_first_and_then_used_again(done, place, spark, capsys):
    assert "dataset 'digits' does not exist yet" in done[1]
    assert start(place, "--experiment.variants", '{"one": {}}', "--tracking.experiment", "again") == 0
    out, err = capsys.readouterr()
    assert "there is no dataset" not in err
    result = json.loads(out.splitlines()[-1])
    assert result["dataset_version"] == done[0]["dataset_version"]
    assert [row["variant"] for row in result["variants"]] == ["one"]


def test_children_have_parameters_and_metrics_and_the_parent_knows_what_differs(done, client):
    parent = client.get_run(done[0]["run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.params["experiment.variants.slow.training.optimizer.learning_rate"] == "1e-05"
    assert len(parent.inputs.dataset_inputs) == 1
    runs = children(client, parent)
    assert [run.info.run_name for run in runs] == ["adam", "diverges", "slow"]
    assert [run.data.tags["convoy.variant"] for run in runs] == ["adam", "diverges", "slow"]
    assert [run.info.status for run in runs] == ["FINISHED", "FAILED", "FINISHED"]
    assert [run.data.params["training.optimizer.name"] for run in runs] == ["adam", "sgd", "sgd"]
    assert [row["run_ids"] for row in done[0]["variants"]] == [[run.info.run_id] for run in runs]
    assert runs[0].data.metrics["test_accuracy"] == done[0]["variants"][0]["test_accuracy"]
    assert client.search_registered_models() == []


def test_the_parent_has_the_chart_and_the_tables(done, client):
    run_id = done[0]["run_id"]
    names = {file.path for file in client.list_artifacts(run_id)} - {"dataset"}
    assert names == {"comparison.png", "comparison.csv", "comparison.json", "comparison.md", "recall_by_class.png"}
    assert Image.open(artifact(client, run_id, "comparison.png")).width >= 1000
    lines = list(csv.DictReader(artifact(client, run_id, "comparison.csv").read_text().splitlines()))
    assert [line["status"] for line in lines] == ["FINISHED", "FAILED", "FINISHED"]
    variants = json.loads(artifact(client, run_id, "comparison.json").read_text())["variants"]
    assert len(variants[0]["trials"][0]["history"]) == 1
    assert len(artifact(client, run_id, "comparison.md").read_text().splitlines()) == 5


def test_networks_that_do_not_fit_are_refused_before_a_run_is_opened(done, client, place, capsys):
    crop = '{"fits": {}, "too much": {"training.augmentation.crop": 40}}'
    assert start(place, "--experiment.variants", crop, "--tracking.experiment", "refused") == 2
    assert "'too much': training.augmentation.crop is 40" in capsys.readouterr().err
    assert client.get_experiment_by_name("refused") is None


def test_an_experiment_of_failures_alone_is_one(done, client, place, capsys):
    variants = '{"a": {"training.optimizer.learning_rate": 1e38, "training.optimizer.name": "sgd"}}'
    assert start(place, "--experiment.variants", variants, "--tracking.experiment", "failing") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("error: no variant could be trained; 'a' failed: the loss is nan")
    found = client.search_runs([client.get_experiment_by_name("failing").experiment_id])
    assert {run.info.status for run in found} == {"FAILED"}
