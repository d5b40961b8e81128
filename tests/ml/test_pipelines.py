"""Stages together, as in Spark's own examples."""

from multiprocessing.pool import ThreadPool

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StringIndexer
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder
from pyspark.sql import functions as F

from convoy.dataset.storage import catalog
from convoy.ml import ImageClassifier, ImageClassifierModel, ImageFeaturizer
from tests.ml.conftest import LABELS

pytestmark = [pytest.mark.spark, pytest.mark.train, pytest.mark.long]


def accuracy(**columns):
    return MulticlassClassificationEvaluator(metricName="accuracy", **columns)


def test_embeddings_of_a_trained_network_train_a_logistic_regression(spark, rows, fitted, quick, tmp_path):
    damaged = spark.createDataFrame([(999, b"no image", "one"), (998, None, "two")], rows.schema)
    rows = rows.union(damaged)
    pipeline = Pipeline(
        stages=[
            StringIndexer(inputCol="label", outputCol="index"),
            ImageFeaturizer(model=fitted.getModelUri(), trackingUri=quick["trackingUri"], handleInvalid="skip"),
            LogisticRegression(labelCol="index", maxIter=20),
        ]
    )
    pipeline.save(str(tmp_path / "pipeline"))
    model = Pipeline.load(str(tmp_path / "pipeline")).fit(rows)
    model.save(str(tmp_path / "model"))
    out = PipelineModel.load(str(tmp_path / "model")).transform(rows)
    assert accuracy(labelCol="index").evaluate(out) > 0.95
    assert out.count() == 120
    assert {row["prediction"] for row in out.select("prediction").distinct().collect()} <= {0.0, 1.0, 2.0}


def test_indices_are_those_of_the_string_indexer(rows, quick, tmp_path):
    uneven = rows.where("label != 'two' OR key < 60")  # the order by frequency is not the alphabetical one
    indexer = StringIndexer(inputCol="label", outputCol="index")
    longer = {**quick, "epochs": 6}  # the class with fewer rows is learned, too
    classifier = ImageClassifier(**longer, labelCol="index", predictionIndexCol="predicted", predictionCol="name")
    model = Pipeline(stages=[indexer, classifier]).fit(uneven)
    assert model.stages[1].labels == model.stages[0].labels
    assert model.stages[1].labels != sorted(LABELS)
    model.save(str(tmp_path / "model"))
    out = PipelineModel.load(str(tmp_path / "model")).transform(rows).cache()
    assert accuracy(labelCol="index", predictionCol="predicted").evaluate(out) > 0.9
    loss = MulticlassClassificationEvaluator(labelCol="index", predictionCol="predicted", metricName="logLoss")
    of_true = [-np.log(row["probability"][int(row["index"])]) for row in out.collect()]
    assert loss.evaluate(out) == pytest.approx(np.mean(of_true), abs=1e-4)
    for row in out.collect():
        assert model.stages[1].labels[int(row["predicted"])] == row["name"]
        assert row["predicted"] == np.argmax(row["probability"].toArray())


def test_labels_without_rows_keep_their_places(rows, quick):
    indexed = (
        StringIndexer(inputCol="label", outputCol="index", stringOrderType="alphabetAsc").fit(rows).transform(rows)
    )
    some = indexed.where("label != 'two'")  # 'one' is 0, 'two' 1, 'zero' 2
    model = ImageClassifier(**quick, labelCol="index", predictionIndexCol="predicted").fit(some)
    assert model.labels == ["one", "two", "zero"]
    found = model.transform(some).collect()
    assert {row["probability"][1] for row in found} == {0.0}
    assert np.mean([row["predicted"] == row["index"] for row in found]) > 0.9
    assert {row["predicted"] for row in found} <= {0.0, 2.0}


def test_a_grid_in_a_cross_validator(rows, quick, tmp_path):
    indexed = StringIndexer(inputCol="label", outputCol="index").fit(rows).transform(rows)
    classifier = ImageClassifier(**quick, labelCol="index", predictionIndexCol="predicted")
    grid = ParamGridBuilder().addGrid(classifier.learningRate, [1e-6, 0.01]).build()
    validator = CrossValidator(
        estimator=classifier,
        estimatorParamMaps=grid,
        evaluator=accuracy(labelCol="index", predictionCol="predicted"),
        numFolds=2,
        seed=1,
        parallelism=2,
    )
    before = len(catalog.versions(quick["storeRoot"], "images"))
    model = validator.fit(indexed)
    assert model.avgMetrics[1] > 0.8 > model.avgMetrics[0]
    assert model.bestModel.getLearningRate() == 0.01
    assert len(catalog.versions(quick["storeRoot"], "images")) <= before + 2  # of the folds; all rows are there already
    model.save(str(tmp_path / "model"))
    loaded = CrossValidatorModel.load(str(tmp_path / "model"))
    assert isinstance(loaded.bestModel, ImageClassifierModel)
    assert loaded.bestModel.getModelUri() == model.bestModel.getModelUri()
    first = model.transform(indexed).orderBy("key").select("predicted").collect()
    assert loaded.transform(indexed).orderBy("key").select("predicted").collect() == first


def test_paths_structs_weights_and_a_validation_column(spark, rows, quick, tmp_path):
    for row in rows.collect():
        (tmp_path / f"{row['key']}.png").write_bytes(row["image"])
    names = F.concat(F.lit(f"{tmp_path}/"), "key", F.lit(".png"))
    held, weight = (F.col("key") % 5 == 0), (F.col("key") % 3).cast("int")
    paths = rows.select("key", "label", names.alias("file"), held.alias("held"), weight.alias("w"))
    classifier = ImageClassifier(**quick, weightCol="w", validationCol="held")
    model = classifier.copy({classifier.imageCol: "file"}).fit(paths)
    assert model.summary.epochs[0]["val_loss"] > 0
    found = model.transform(paths).collect()
    assert np.mean([row["label"] == row["prediction"] for row in found]) > 0.9
    structs = (
        spark.read.format("image")
        .load(str(tmp_path))
        .join(paths, F.regexp_extract("image.origin", r"(\d+)\.png", 1).cast("int") == F.col("key"))
    )
    again = classifier.fit(structs)
    assert np.mean([row["label"] == row["prediction"] for row in again.transform(structs).collect()]) > 0.9


def test_two_ranks_in_a_thread_as_a_cross_validator_has_them(rows, quick):
    classifier = ImageClassifier(**{**quick, "numWorkers": 2})
    with ThreadPool(1) as pool:
        model = pool.apply(classifier.fit, (rows,))
    found = model.transform(rows).collect()
    assert np.mean([row["label"] == row["prediction"] for row in found]) > 0.9
