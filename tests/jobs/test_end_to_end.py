"""All four jobs as real processes, as a user starts them, on the embedded digits."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pyspark
import pytest
from packaging.version import Version
from PIL import Image

from convoy.models.summary.picture import can_draw
from tests.spark_support import QUICK

ROOT = Path(__file__).resolve().parents[2]
SECRETS = ("DATABRICKS_TOKEN", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY")
CANARY = "canary-4711-secret"  # in the environment of every job
SPARK_SUBMIT = [str(Path(sys.executable).with_name("spark-submit")), "--driver-java-options", QUICK]

pytestmark = pytest.mark.e2e


class Place:
    """A folder for everything that the jobs write, and a way to run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = f"sqlite:///{folder}/mlflow.db"

    def arguments(self, *others: str) -> list[str]:
        """A job's arguments."""
        return [
            *("--config", str(ROOT / "conf" / "digits.yaml")),
            *("--dataset.root", f"{self.folder}/datasets"),
            *("--tracking.uri", self.uri),
            *("--scoring.output", f"{self.folder}/scores"),
            *others,
        ]

    def run(self, job: str, *arguments: str, launcher: list[str] | None = None) -> tuple[dict, str]:
        """Run a job to its end; returns (its JSON line, its stderr)."""
        done = self.start(job, *arguments, launcher=launcher)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    def start(self, job: str, *arguments: str, launcher: list[str] | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a job, whatever comes of it."""
        script = str(ROOT / "jobs" / f"{job}.py")
        command = [*(launcher or [sys.executable]), script, *self.arguments(*arguments)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYSPARK", "SPARK_"))}
        environment |= dict.fromkeys(SECRETS, CANARY)
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=1200)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("a place"))


@pytest.fixture(scope="module")
def ingested(place):
    return place.run("ingest")


@pytest.fixture(scope="module")
def trained(place, ingested):
    return place.run("train")


@pytest.fixture(scope="module")
def evaluated(place, trained):
    return place.run("evaluate")


@pytest.fixture(scope="module")
def scored(place, trained):
    """By ``spark-submit``, whose local master wins over the configuration's."""
    return place.run("score", launcher=[*SPARK_SUBMIT, "--master", "local[1]"])


@pytest.fixture(scope="module")
def client(place, trained):
    mlflow.set_tracking_uri(place.uri)
    mlflow.set_registry_uri(place.uri)
    return mlflow.MlflowClient()


def test_ingest_reports_what_it_wrote(ingested):
    result, _ = ingested
    assert result["job"] == "ingest"
    assert sum(result["rows"].values()) == 1797
    assert result["quarantined"] == 0
    assert result["images_per_second"] > 0
    assert (Path(result["path"]) / "manifest.json").exists()


def test_train_learns_and_reports(trained):
    result, _ = trained
    assert result["job"] == "train"
    assert result["val_accuracy"] > 0.9
    assert result["epochs"] == 8
    assert result["model_version"] == "1"
    assert result["model_uri"] == "models:/digits/1"


def test_the_run_in_mlflow_holds_everything(client, trained, ingested):
    result, _ = trained
    run = client.get_run(result["run_id"])
    assert run.info.status == "FINISHED"
    assert run.info.experiment_id == result["experiment_id"]
    params = run.data.params
    assert params["training.optimizer.learning_rate"] == "0.002"
    assert params["model.name"] == "lenet5"
    assert params["dataset.image.height"] == "32"
    per_epoch = ["loss", "accuracy", "val_loss", "val_accuracy", "images_per_second", "learning_rate"]
    measured = ["step_ms", "data_wait_share", "communication_share", "memory_mb"]
    per_epoch += [
        *measured,
        *(f"system/rank_{rank}_{name}" for rank in (0, 1) for name in [*measured, "images_per_second"]),
    ]
    for metric in per_epoch:
        assert [m.step for m in client.get_metric_history(result["run_id"], metric)] == list(range(1, 9)), metric
    for rank in (0, 1):
        assert run.data.metrics[f"system/rank_{rank}_system_memory_usage_megabytes"] > 0
        assert 0 <= run.data.metrics[f"system/rank_{rank}_cpu_utilization_percentage"] <= 100
    tags = run.data.tags
    assert tags["world_size"] == "2"
    assert tags["spark.application_id"].startswith("local-")
    assert (tags["dataset.name"], tags["dataset.version"]) == ("digits", ingested[0]["version"])
    assert len(tags["dataset.fingerprint"]) == 32
    [dataset_input] = run.inputs.dataset_inputs
    assert (dataset_input.dataset.name, dataset_input.dataset.digest) == ("digits", ingested[0]["version"])
    assert {"training_curves.png", "report.html"} <= {file.path for file in client.list_artifacts(result["run_id"])}
    pictures = {file.path for file in client.list_artifacts(result["run_id"], "report")}
    assert {"report/confusion_matrix.png", "report/most_wrong.png", "report/grad_cam.png"} <= pictures
    gradients = client.get_metric_history(result["run_id"], "system/gradient_norm_c1")
    assert [metric.step for metric in gradients] == list(range(1, 9))


def test_the_run_tells_what_the_network_is_and_its_model_is_found_beside_that(client, trained):
    result, text = trained
    there = {file.path for file in client.list_artifacts(result["run_id"], "model")}
    assert "model/description.txt" in there
    assert ("model/network.png" in there) is can_draw()
    description = Path(client.download_artifacts(result["run_id"], "model/description.txt")).read_text()
    assert "lenet5: 32x32x1 -> 10, 10 layers" in description
    [totals] = [line for line in text.splitlines() if line.startswith("lenet5: ")]
    assert "61,706 parameters" in totals
    assert "Conv2D" in description
    assert "Conv2D" not in text  # the layers are not in front of every training
    assert mlflow.keras.load_model(f"runs:/{result['run_id']}/model").count_params() == 61_706


def test_the_model_is_registered_with_signature_and_example_and_loads_as_plain_keras(client, trained):
    result, _ = trained
    assert client.get_model_version("digits", "1").run_id == result["run_id"]
    info = mlflow.models.get_model_info(result["model_uri"])
    assert [(column.name, column.type.name) for column in info.signature.inputs] == [("image", "string")]
    assert info.saved_input_example_info is not None
    network = mlflow.keras.load_model(result["model_uri"])
    assert network.count_params() == 61_706
    assert network.predict(np.zeros((2, 32, 32, 1), np.uint8), verbose=0).shape == (2, 10)


def test_evaluation_goes_to_the_models_own_run(client, trained, evaluated):
    result, text = evaluated
    assert result["run_id"] == trained[0]["run_id"]
    assert result["split"] == "test"
    assert result["accuracy"] > 0.9
    metrics = client.get_run(result["run_id"]).data.metrics
    assert metrics["test_accuracy"] == pytest.approx(result["accuracy"])
    artifacts = {file.path for file in client.list_artifacts(result["run_id"], "evaluation/test")}
    names = {"confusion_matrix.png", "per_class.json", "metrics.json", "gates.json"}
    assert artifacts == {f"evaluation/test/{name}" for name in names}
    low, high = result["intervals"]["accuracy"]
    assert 0.8 < low < result["accuracy"] < high <= 1
    assert "95% interval" in text
    assert "passed" not in result
    assert client.get_registered_model("digits").aliases == {}


def test_scores_have_the_columns_and_agree_with_the_evaluation(scored, evaluated):
    result, _ = scored
    rows = pq.read_table(result["output"]).to_pandas()
    assert list(rows.columns) == [
        *("label", "path", "digest"),
        *("prediction", "prediction_index", "probability", "error", "model_version"),
    ]
    assert len(rows) == result["rows"] == evaluated[0]["rows"]
    assert result["errors"] == 0
    assert result["classes"] == rows["prediction"].value_counts().to_dict()
    assert result["mean_confidence"] == pytest.approx(rows["probability"].mean(), abs=1e-4)
    drift = result["drift"]
    assert {name for name in drift if drift[name]["psi"] is None} == {"height", "width"}  # a dataset has its own
    assert not drift["brightness"]["drifted"]
    assert rows["error"].isna().all()
    assert (rows["label"] == rows["prediction_index"]).mean() == pytest.approx(evaluated[0]["accuracy"])
    assert set(rows["model_version"]) == {"models:/digits/1"}


@pytest.mark.long
def test_a_folder_is_scored_row_by_row_with_errors_for_broken_files(spark, place, trained, capsys):
    folder = place.folder / "some images"
    folder.mkdir()
    for i in range(5):
        Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "empty.png").write_bytes(b"")
    output = ("--scoring.output", f"{place.folder}/other")
    arguments = place.arguments("--scoring.input", str(folder), *output, "--scoring.log_run", "true")
    assert importlib.import_module("jobs.score").main(arguments) == 0
    said = capsys.readouterr()
    result, text = json.loads(said.out.splitlines()[-1]), said.err
    assert (result["rows"], result["errors"]) == (7, 2)
    assert result["errors_by_reason"] == {"empty": 1, "not_an_image": 1}
    assert {found["psi"] for found in result["drift"].values()} == {None}
    assert "5 rows are too few" in text
    mlflow.set_tracking_uri(place.uri)
    assert mlflow.get_run(result["run_id"]).data.metrics["score_errors"] == 2
    rows = pq.read_table(result["output"]).to_pandas().set_index("path")
    broken = rows.loc[str(folder / "broken.png")]
    assert broken["error"].startswith("not_an_image")
    assert rows.loc[str(folder / "0.png")]["probability"] > 0
    assert rows["prediction"].isna().sum() == 2


def test_nothing_but_useful_lines_is_printed(ingested, trained, evaluated, scored):
    assert " INFO " not in scored[1]  # spark-submit's JVM warns of what it likes
    for _, text in (ingested, trained, evaluated):
        lines = text.splitlines()
        assert len(lines) < 40, text
        for flood in ("Warning", "WARN", "INFO", "DEBUG", "Traceback", "cpu_feature_guard", "it/s"):
            assert flood not in text, text


@pytest.mark.long
def test_training_and_evaluation_run_under_spark_submit_whose_master_wins(place, scored):
    """Ingest does in ``test_ingest_cluster``, score for all tests here."""
    result, text = place.run("evaluate", launcher=SPARK_SUBMIT)
    assert result["job"] == "evaluate"
    assert " INFO " not in text
    result, _ = place.run(
        *("train", "--training.epochs", "1", "--tracking.report", "false"),
        launcher=[*SPARK_SUBMIT, "--master", "local-cluster[2,1,2048]"],
    )
    assert result["model_version"] == "2"
    mlflow.set_tracking_uri(place.uri)
    tags = mlflow.MlflowClient().get_run(result["run_id"]).data.tags
    assert tags["spark.application_id"].startswith("app-")  # not local-: executors in processes of their own


@pytest.mark.long
def test_a_training_that_diverges_fails_with_one_line_and_its_reason_in_mlflow(place, trained, client):
    arguments = ("--training.optimizer.name", "sgd", "--training.optimizer.learning_rate", "1e38")
    arguments += ("--training.num_workers", "0")
    done = place.start("train", *arguments, "--tracking.experiment", "diverging")
    assert done.returncode == 2
    assert done.stdout == ""
    network, *lines = done.stderr[done.stderr.index("lenet5: input ") :].splitlines()
    assert "parameters" in network
    lines = [line for line in lines if not line.startswith(("epoch", "train "))]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: the loss is nan in epoch 1; lower training.optimizer.learning_rate")
    [run] = client.search_runs([client.get_experiment_by_name("diverging").experiment_id])
    assert run.info.status == "FAILED"
    assert "the loss is nan" in run.data.tags["convoy.failure"]


def test_everything_is_written_where_the_configuration_says(place, scored, evaluated):
    # Empty folders that these versions make, and no others.
    empty = {"mlruns"} if Version(mlflow.__version__) < Version("3.9") else set()
    empty |= {"artifacts"} if pyspark.__version__.startswith("4.0.") else set()
    found = {path.name for path in place.folder.iterdir() if path.name not in empty or any(path.iterdir())}
    assert found <= {
        *("datasets", "mlflow.db", ".mlflow.db.lock", "mlartifacts", "scores", "work", "other", "some images")
    }


def test_no_secret_of_the_environment_is_written_anywhere(place, ingested, trained, evaluated, scored):
    for _, text in (ingested, trained, evaluated, scored):
        assert CANARY not in text
    files = [path for path in place.folder.rglob("*") if path.is_file()]
    assert {"mlflow.db", "MLmodel"} <= {path.name for path in files}
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
