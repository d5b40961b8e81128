"""What follows from a scoring: counts, drift, a run in MLflow."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest

from convoy.config import Config, ScoringConfig, TrackingConfig
from convoy.images import ImageProfile, quantile_bins
from convoy.models.package import TrainingStatistics
from convoy.monitoring.image_stats import image_stats_for
from convoy.monitoring.score_summary import Summary
from convoy.tracking import connection, logged_models
from convoy.tracking.model_io import load_package
from convoy.tracking.scorings import Histogram, histogram_picture
from convoy.workflows.score import compare_with_training, report_scores
from tests.inference.packages import CLASSES, package, signals

PROFILE = ImageProfile(quantile_bins(dict.fromkeys(range(100), 30)), quantile_bins({8: 3000}), quantile_bins({6: 3000}))
TRAINING = TrainingStatistics([600] * 5, PROFILE)
EVEN = Summary(1000, {}, dict.fromkeys(CLASSES, 200), 0.9)


def test_everything_is_compared_with_what_the_model_carries():
    told = replace(package(), training=TRAINING)
    counted = {name: np.array(getattr(PROFILE, name).counts) // 3 for name in ("brightness", "height", "width")}
    found = compare_with_training(told, EVEN, counted)
    assert list(found) == ["class mix", "brightness", "height", "width"]
    assert [each.psi for each in found.values()] == pytest.approx([0] * 4, abs=5e-3)
    one = Summary(1000, {}, {"cat": 1000}, 0.9)
    found = compare_with_training(told, one, {"brightness": counted["brightness"]})
    assert found["class mix"].drifted
    assert (found["class mix"].most, found["class mix"].before, found["class mix"].after) == ("cat", 0.2, 1.0)
    assert found["height"].reason == "the images do not have their original size"


def test_what_the_model_does_not_carry_cannot_be_judged():
    found = compare_with_training(package(), EVEN, {})
    assert {each.reason for each in found.values()} == {"the model has no record of its training data"}
    earlier = replace(package(), training=replace(TRAINING, profile=None))
    found = compare_with_training(earlier, EVEN, {})
    assert found["class mix"].psi == pytest.approx(0, abs=1e-3)
    assert "ingest and train again" in found["brightness"].reason
    assert list(compare_with_training(replace(signals(), training=earlier.training), EVEN, {})) == ["class mix"]


def test_pictures_are_drawn_of_few_bins_and_of_many():
    many = Histogram("class mix", [f"class $ {i}" for i in range(300)], range(300), range(300))
    few = Histogram("brightness", ["up to 3", "4 or more"], [0, 0], None)
    figure = histogram_picture([many, few])
    figure.canvas.draw()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["class mix (the 40 largest)", "brightness"]
    assert [len(axes.patches) for axes in figure.axes] == [80, 2]


@pytest.fixture
def scored(spark):
    """Rows that the small network might have made."""
    rows = [("cat", 0.5, None)] * 190 + [(None, None, "empty: there are no bytes")] * 10
    return spark.createDataFrame(rows, "prediction string, probability float, error string")


@pytest.fixture
def config(animals):
    return Config(
        scoring=ScoringConfig(input="images", log_run=True), tracking=TrackingConfig(animals.store, "scorings")
    )


@pytest.mark.spark
def test_a_run_is_linked_to_the_model(spark, animals, config, scored, capsys):
    connection.connect(animals.store)
    told = replace(load_package(animals.uri), training=TRAINING)
    fields = report_scores(scored, config, told, image_stats_for(spark, told), 2.0)
    assert (fields["rows"], fields["errors_by_reason"], fields["classes"]) == (200, {"empty": 10}, {"cat": 190})
    assert fields["images_per_second"] == 100.0
    assert fields["drift"]["class_mix"]["drifted"]
    text = capsys.readouterr().err
    assert "score: 190 scored: cat 100.0%; mean confidence 0.500; errors: empty 10; 100.0 images/s" in text
    assert "warning: class mix of the scored images differs from training" in text

    run = mlflow.get_run(fields["run_id"])
    assert run.info.status == "FINISHED"
    assert run.info.experiment_id == connection.experiment_id("scorings")
    if logged_models.HAVE_IDS:
        assert [given.model_id for given in run.inputs.model_inputs] == [told.model_id]
        of_model = {metric.key for metric in mlflow.get_logged_model(told.model_id).metrics}
        assert {"score_rows", "score_errors", "score_mean_confidence", "score_psi_class_mix"} <= of_model
    name, version = animals.uri.split("/")[1:]
    assert (run.data.tags["model.name"], run.data.tags["model.version"]) == (name, version)
    assert run.data.tags["model.run_id"] == told.run_id
    assert run.data.params["scoring.input"] == "images"
    assert run.data.metrics["score_errors"] == 10
    assert run.data.metrics["score_psi_class_mix"] > 0.2
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="scoring"))
    assert {path.name for path in folder.iterdir()} == {"summary.json", "histograms.png"}
    document = json.loads((folder / "summary.json").read_text())
    assert document["model"] == animals.uri
    assert document["histograms"][0]["scored"] == [0, 0, 190, 0, 0]


@pytest.mark.spark
def test_a_tracking_server_that_is_away_takes_nothing_from_the_scores(animals, config, scored, capsys):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    away = replace(config, tracking=TrackingConfig(uri, "scorings"))
    fields = report_scores(scored, away, package(), None, 2.0)
    assert (fields["rows"], fields["run_id"]) == (200, None)
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(warnings) == 1
    assert "the scores are published, but MLflow has no run of them: tracking.uri" in warnings[0]
    assert "run_id" not in report_scores(scored, replace(away, scoring=ScoringConfig()), package(), None, 2.0)
