"""Columns of ``ImageClassifierModel`` for labels that are indices; the network is one that nobody trained."""

import numpy as np
import pytest
from pyspark.ml.evaluation import MulticlassClassificationEvaluator

from convoy.errors import ConfigError
from convoy.ml.model import fitted
from tests.conftest import encoded, noise
from tests.inference.packages import CLASSES, package, truth

pytestmark = pytest.mark.spark

LABELS = ["dog", "cow", "cat", "bee", "elk", "ant"]  # those of an indexer; no training row was a cow


@pytest.fixture(scope="module")
def rows(spark):
    """Images with an index as label; a third of them is labelled with what the network predicts."""
    images = noise(9, 8, 6, 3)
    predicted = [LABELS.index(CLASSES[i]) for i in truth(images).argmax(1)]
    labels = [label if key % 3 == 0 else (label + 1) % 6 for key, label in enumerate(predicted)]
    return spark.createDataFrame(
        [(key, encoded(image), float(label)) for key, (image, label) in enumerate(zip(images, labels, strict=True))],
        "key int, image binary, label double",
    )


def test_indices_are_those_of_the_labels_and_evaluators_are_right(rows):
    model = fitted(package(), LABELS, None).setPredictionIndexCol("index")
    out = model.transform(rows).orderBy("key")
    found = out.collect()
    expected = truth(noise(9, 8, 6, 3))
    assert [row["prediction"] for row in found] == [CLASSES[i] for i in expected.argmax(1)]
    assert [LABELS[int(row["index"])] for row in found] == [row["prediction"] for row in found]
    probabilities = np.stack([row["probability"].toArray() for row in found])
    np.testing.assert_allclose(probabilities[:, [LABELS.index(name) for name in CLASSES]], expected, atol=1e-5)
    assert (probabilities[:, 1] == 0).all()
    accuracy = MulticlassClassificationEvaluator(predictionCol="index", metricName="accuracy")
    assert accuracy.evaluate(out) == pytest.approx(1 / 3)


def test_names_are_not_indices(rows):
    model = fitted(package(), None, None)
    assert model.labels == CLASSES
    with pytest.raises(ConfigError, match="predictionIndexCol is set, but labelCol has no indices"):
        model.setPredictionIndexCol("index").transform(rows)
