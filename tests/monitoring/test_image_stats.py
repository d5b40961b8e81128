"""What images look like, counted while they are scored."""

from dataclasses import replace

import numpy as np
import pytest

import convoy
from convoy.dataset.storage import raw
from convoy.images import ImageProfile, brightness, quantile_bins
from convoy.models.package import TrainingStatistics
from convoy.monitoring.image_stats import image_stats_for
from tests.conftest import encoded, noise
from tests.inference.packages import CLASSES, package

pytestmark = [pytest.mark.spark, pytest.mark.long]

PROFILE = ImageProfile(quantile_bins(dict.fromkeys(range(90, 160), 1)), quantile_bins({8: 9}), quantile_bins({6: 9}))


@pytest.fixture
def told():
    """A model that tells what its training images looked like."""
    return replace(package(), training=TrainingStatistics([1] * len(CLASSES), PROFILE))


def test_brightness_and_sizes_of_files_are_counted_whatever_the_partitions_and_errors_are_not(spark, told):
    images = noise(40, 8, 6, 3) // 2 + np.arange(40, dtype=np.uint8)[:, None, None, None]
    tall = noise(5, 20, 6, 3)
    contents = [encoded(image) for image in (*images, *tall)] + [None, b"", b"no image"]
    rows = spark.createDataFrame([(content,) for content in contents], "content binary").repartition(2)
    gauge = image_stats_for(spark, told)
    assert gauge.found() == {}
    scored = convoy.score_images(rows, told, columns=[], gauge=gauge)
    scored.write.format("noop").mode("overwrite").save()
    found = gauge.found()
    assert found["height"].tolist() == [0, 40, 5]
    assert found["width"].tolist() == [0, 45, 0]
    assert found["brightness"].sum() == 45
    # Those that were not resized have a brightness that is known here.
    assert (found["brightness"] >= PROFILE.brightness.count(brightness(images))).all()
    assert scored.columns == ["prediction", "prediction_index", "probability", "error", "model_version"]


def test_stored_samples_have_no_size_of_their_own(spark, told):
    images = noise(30, 8, 6, 3)
    rows = spark.createDataFrame([(value,) for value in raw.encode(images).to_pylist()], "image binary")
    gauge = image_stats_for(spark, told)
    assert convoy.score_images(rows, told, gauge=gauge).where("error is null").count() == 30
    assert {name: counts.sum() for name, counts in gauge.found().items()} == {"brightness": 30}


def test_sizes_are_not_counted_where_they_say_nothing(spark, told):
    rows = spark.createDataFrame([(encoded(noise(9, 9, 3)),)], "content binary")
    gauge = replace(image_stats_for(spark, told), sizes=False)
    convoy.score_images(rows, told, gauge=gauge).collect()
    assert set(gauge.found()) == {"brightness"}


def test_models_that_do_not_tell_what_they_were_trained_on_have_no_gauge(spark, told):
    assert image_stats_for(spark, package()) is None
    assert image_stats_for(spark, replace(told, training=TrainingStatistics([1] * len(CLASSES), None))) is None
