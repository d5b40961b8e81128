"""``ImageClassifier`` and its model on real digits."""

import mlflow
import numpy as np
import pytest
from pyspark.ml.linalg import Vector
from pyspark.sql import functions as F

import convoy
from convoy.dataset.storage import catalog
from convoy.ml import ImageClassifier, ImageClassifierModel
from tests.ml.conftest import LABELS

pytestmark = [pytest.mark.spark, pytest.mark.train]


def test_fit_and_transform(fitted, rows, quick):
    out = fitted.transform(rows)
    assert out.columns == [*rows.columns, "prediction", "probability"]
    found = out.orderBy("key").collect()
    assert [row["key"] for row in found] == list(range(120))
    assert fitted.labels == sorted(LABELS)
    for row in found:
        assert isinstance(row["probability"], Vector)
        assert row["probability"].toArray().sum() == pytest.approx(1, abs=1e-5)
        assert fitted.labels[int(np.argmax(row["probability"].toArray()))] == row["prediction"]
    assert np.mean([row["label"] == row["prediction"] for row in found]) > 0.9
    by_uri = convoy.score_images(rows, fitted.getModelUri(), "image").orderBy("key").collect()
    assert [row["prediction"] for row in by_uri] == [row["prediction"] for row in found]


def test_the_run_and_the_version_are_those_of_the_jobs(fitted, quick):
    run = mlflow.MlflowClient(quick["trackingUri"]).get_run(fitted.summary.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["training.epochs"] == "2"
    assert len(fitted.summary.history) == 2
    [version] = catalog.versions(quick["storeRoot"], "images")
    assert run.data.tags["dataset.version"] == version


@pytest.mark.long
def test_the_same_rows_are_the_same_version(fitted, rows, quick):
    before = catalog.versions(quick["storeRoot"], "images")
    shuffled = rows.repartition(3).withColumnRenamed("image", "picture").orderBy(F.desc("key"))
    again = ImageClassifier(**quick).setImageCol("picture").setEpochs(1).fit(shuffled)
    assert catalog.versions(quick["storeRoot"], "images") == before
    assert again.summary.run_id != fitted.summary.run_id


def test_a_saved_model_predicts_the_same_without_mlflow(fitted, rows, tmp_path, monkeypatch):
    path = str(tmp_path / "model")
    fitted.save(path)
    loaded = ImageClassifierModel.load(path)
    monkeypatch.setattr("mlflow.artifacts.download_artifacts", None)
    assert (loaded.uid, loaded.labels, loaded.getEpochs()) == (fitted.uid, fitted.labels, 2)
    assert loaded.getModelUri() == fitted.getModelUri()
    assert (fitted.hasSummary, loaded.hasSummary) == (True, False)
    with pytest.raises(RuntimeError, match="was loaded"):
        loaded.summary  # noqa: B018
    columns = ["key", "prediction", "probability"]
    expected = fitted.transform(rows).select(columns).orderBy("key").collect()
    assert loaded.transform(rows).select(columns).orderBy("key").collect() == expected
