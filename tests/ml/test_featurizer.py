"""``ImageFeaturizer``: embeddings of any model that Convoy can score."""

import mlflow
import numpy as np
import pytest
from pyspark.ml.linalg import DenseVector, Vectors
from pyspark.sql import functions as F

import convoy
from convoy.errors import ConfigError, ModelError, TrackingError
from convoy.ml import ImageFeaturizer
from tests.conftest import encoded, noise
from tests.inference.packages import network
from tests.logged import connect, log_foreign, log_signals

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def pictures(spark):
    """Images of the size that the network takes, one that is none, and columns of names that the scorer adds."""
    files = [encoded(image) for image in noise(6, 8, 6, 3)]
    rows = [(key, file, float(key), Vectors.dense([key])) for key, file in enumerate([*files, b"no image", None])]
    return spark.createDataFrame(rows, ["key", "image", "prediction", "own.vector"])


def expected():
    """Embeddings by Keras."""
    import keras

    inner = keras.Model(network().inputs, network().get_layer("penultimate").output)
    return inner.predict(noise(6, 8, 6, 3), verbose=0)


def test_embeddings_are_those_of_keras(pictures, animals):
    featurizer = ImageFeaturizer(model=animals.uri, trackingUri=animals.store)
    out = featurizer.transform(pictures)
    assert out.columns == [*pictures.columns, "features"]
    assert out.schema["own.vector"] == pictures.schema["own.vector"]
    found = out.orderBy("key").collect()
    np.testing.assert_allclose([row["features"].toArray() for row in found[:6]], expected(), atol=1e-5)
    assert [row["features"] for row in found[6:]] == [None, None]
    assert [(row["prediction"], row["own.vector"]) for row in found] == [(n, DenseVector([n])) for n in range(8)]


def test_arrays_reasons_and_rows_that_are_left_out(pictures, animals):
    featurizer = ImageFeaturizer(model=animals.uri, trackingUri=animals.store, outputType="array", errorCol="why")
    found = featurizer.transform(pictures).orderBy("key").collect()
    np.testing.assert_allclose([row["features"] for row in found[:6]], expected(), atol=1e-5)
    assert [row["why"] and row["why"].split(":")[0] for row in found] == [None] * 6 + ["not_an_image", "empty"]
    kept = featurizer.setHandleInvalid("skip").transform(pictures)
    assert sorted(row["key"] for row in kept.select("key").collect()) == list(range(6))
    with pytest.raises(Exception, match=r"handleInvalid is error\): (not_an_image|empty)"):
        featurizer.setHandleInvalid("error").transform(pictures).collect()


def test_an_alias_is_kept_as_the_version_that_it_was(pictures, animals):
    client = mlflow.MlflowClient(animals.store)
    client.set_registered_model_alias("animals", "chosen", "1")
    featurizer = ImageFeaturizer(model="models:/animals@chosen", trackingUri=animals.store)
    featurizer.transform(pictures)
    assert featurizer.getModel() == "models:/animals/1"


@pytest.mark.long
def test_a_model_that_convoy_did_not_log(pictures, animals):
    uri = log_foreign(animals, network())
    out = ImageFeaturizer(inputCol="image", outputCol="f", model=uri, trackingUri=animals.store).transform(pictures)
    found = out.orderBy("key").collect()
    np.testing.assert_allclose([row["f"].toArray() for row in found[:6]], expected(), atol=1e-5)


@pytest.mark.parametrize(
    ("params", "error", "said"),
    [
        ({"model": None}, ConfigError, "^model is not set"),
        ({"inputCol": "picture"}, ConfigError, "^inputCol is 'picture'; the DataFrame has the columns key, image"),
        ({"inputCol": "key"}, ConfigError, "^inputCol: column 'key' is bigint; expected image files"),
        ({"outputCol": "prediction"}, ConfigError, "^outputCol is 'prediction', which the DataFrame has already"),
        ({"errorCol": "features"}, ConfigError, "^errorCol is 'features', which outputCol names too"),
        ({"model": "models:/plants/1"}, TrackingError, "plants"),
    ],
)
def test_what_does_not_fit_is_one_line(pictures, animals, params, error, said):
    given = {"model": animals.uri, "trackingUri": animals.store, **params}
    with pytest.raises(error, match=said) as raised:
        ImageFeaturizer(**{name: value for name, value in given.items() if value is not None}).transform(pictures)
    assert "\n" not in str(raised.value)


def test_a_model_that_does_not_take_the_column(pictures, tmp_path):
    signals = log_signals(connect(tmp_path))
    named = pictures.withColumnRenamed("image", "file").withColumn("file", F.lit("a.png"))
    with pytest.raises(ModelError, match=r"^inputCol: models:/signals/1 takes arrays.*column 'file' holds paths"):
        ImageFeaturizer(inputCol="file", model=signals.uri, trackingUri=signals.store).transform(named)


def test_it_is_saved_and_loaded(animals, spark, tmp_path):
    featurizer = ImageFeaturizer(inputCol="picture", model="models:/animals@chosen", outputType="array")
    featurizer.save(str(tmp_path / "f"))
    loaded = ImageFeaturizer.load(str(tmp_path / "f"))
    assert loaded.extractParamMap() == featurizer.extractParamMap()
    assert loaded.uid == featurizer.uid


@pytest.mark.long
def test_scores_and_embeddings_agree_with_score_images(pictures, animals):
    only = pictures.select("key", F.col("image").alias("content"))
    mlflow.set_tracking_uri(animals.store)
    mlflow.set_registry_uri(animals.store)
    by_function = convoy.score_images(only, animals.uri, embeddings=True).orderBy("key").collect()
    out = ImageFeaturizer(inputCol="content", model=animals.uri, outputType="array").transform(only)
    for row, other in zip(out.orderBy("key").collect(), by_function, strict=True):
        assert row["features"] == other["embedding"]
