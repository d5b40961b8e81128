"""The descriptions that MLflow's pages show."""

import mlflow
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.config import ModelConfig, TrainingConfig
from convoy.tracking.descriptions import NOTE, training_note, with_result
from convoy.tracking.evaluations import log_evaluation
from convoy.tracking.model_io import load_package
from tests.inference.packages import CLASSES
from tests.logged import connect, log_images, manifest

RESULT = {"epochs": 1, "val_accuracy": 0.9612, "val_loss": 0.12345}


def note(**training):
    return training_note(ModelConfig(name="lenet5"), TrainingConfig(**training), manifest(), 61_706, RESULT)


def test_a_training_says_what_was_trained_on_what_how_and_how_well():
    lines = note(num_workers=2, global_batch_size=64, seed=7).splitlines()
    assert lines[0].startswith("Validation accuracy 96.12%: lenet5, 61,706 weights, 5 classes of ")
    assert lines[0].endswith("; animals version `1`")
    assert "* **training**: 1 epoch in batches of 64 on 2 ranks; adam, learning rate 0.001, seed 7" in lines
    assert "* **validation**: accuracy 96.12%, loss 0.1235" in lines
    assert "on 1 rank;" in note(num_workers=0)


@given(st.lists(st.sampled_from(["test", "validation", "train"]), max_size=6))
def test_each_result_stands_once_with_its_last_value_and_what_people_wrote_stays(names):
    text = f"{note()}\n\nMy own words."
    for number, name in enumerate(names):
        text = with_result(text, name, f"take {number}")
    for name in set(names):
        last = max(number for number, each in enumerate(names) if each == name)
        assert [line for line in text.splitlines() if line.startswith(f"* **{name}**: ")] == [
            f"* **{name}**: take {last}"
        ]
    assert text.endswith("\n\nMy own words.")
    assert text.startswith(note().splitlines()[0])


@pytest.mark.parametrize("text", ["", "My own words."])
def test_a_result_is_added_to_any_description(text):
    assert with_result(text, "test", "good").splitlines()[-1] == "* **test**: good"
    assert with_result(text, "test", "good").startswith(text)


def test_model_run_and_version_know_of_each_other_and_of_the_evaluation(tmp_path):
    logged = log_images(connect(tmp_path))
    client, package = mlflow.MlflowClient(), load_package(logged.uri)
    confusion = [[1 if row == column else 0 for column in range(len(CLASSES))] for row in range(len(CLASSES))]
    for accuracy in (0.5, 1.0):
        metrics, per_class = {"accuracy": accuracy}, {"recall": [1.0] * len(CLASSES)}
        run_id = log_evaluation(package, "e", "test", metrics, per_class, np.array(confusion), manifest())
    told = "* **test**: accuracy 100.00% of 5, animals version `1`"
    model = client.get_logged_model(package.model_id)
    version = client.get_model_version("animals", "1")
    assert run_id == package.run_id
    assert client.get_run(run_id).data.tags[NOTE] == model.tags[NOTE] == version.description == told
    assert model.model_uri in {version.source, f"models:/{version.model_id}"}
    assert '"name": "animals"' in model.tags["mlflow.modelVersions"]
    assert "models:/animals@champion" in client.get_registered_model("animals").description
    measured = [metric for metric in model.metrics if metric.key == "test_accuracy"]
    assert {(metric.dataset_name, metric.dataset_digest) for metric in measured} == {("animals", "1")}
