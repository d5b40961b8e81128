"""Handwritten digits in a DataFrame, and one model that is fitted on them for all tests."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from convoy.ml import ImageClassifier
from tests.logged import connect
from tests.spark_support import encoded

LABELS = ("zero", "one", "two")


def digit_rows(count=120):
    """Rows (key, image, label): encoded files of the digits 0, 1 and 2."""
    digits = load_digits(n_class=len(LABELS))
    pixels = np.clip(digits.images[:count] * 16, 0, 255).astype(np.uint8)
    files = [encoded(image) for image in pixels]
    return [(key, file, LABELS[label]) for key, (file, label) in enumerate(zip(files, digits.target, strict=False))]


@pytest.fixture(scope="session")
def rows(spark):
    return spark.createDataFrame(digit_rows(), "key int, image binary, label string")


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Params that name where data and runs go."""
    folder = tmp_path_factory.mktemp("ml")
    return {"storeRoot": str(folder / "datasets"), "trackingUri": connect(folder), "experiment": "ml"}


@pytest.fixture(scope="session")
def quick(store):
    """Params of a training of seconds, in this process."""
    small = {"imageHeight": 16, "imageWidth": 16, "imageChannels": 1, "numWorkers": 0, "batchSize": 16}
    layers = ["flatten", {"dense": {"units": 16, "activation": "relu"}}, {"dense": {"activation": "softmax"}}]
    return {
        **store,
        **small,
        "epochs": 2,
        "learningRate": 0.01,
        "config": {"model.layers": layers, "tracking.report": False},
    }


@pytest.fixture(scope="session")
def fitted(rows, quick):
    """A fitted model; not to be changed."""
    return ImageClassifier(**quick).fit(rows)
