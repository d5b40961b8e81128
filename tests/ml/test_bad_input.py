"""DataFrames and settings that do not fit: one line each, before anything is trained."""

import pytest
from pyspark.sql import functions as F

from convoy.dataset.storage import catalog
from convoy.errors import ConfigError, SourceError
from convoy.ml import ImageClassifier
from tests.ml.conftest import digit_rows

pytestmark = pytest.mark.spark


def refuse(rows, said, error=ConfigError, /, **params):
    with pytest.raises(error, match=said) as raised:
        ImageClassifier(**params).fit(rows)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (
            {"imageCol": "images"},
            r"^imageCol is 'images'; the DataFrame has the columns key, image, label; did",
        ),
        ({"labelCol": "class"}, "^labelCol is 'class'; the DataFrame has the columns"),
        ({"labelCol": ""}, "^labelCol is empty"),
        ({"weightCol": "weight"}, "^weightCol is 'weight'; the DataFrame"),
        ({"validationCol": "split"}, "^validationCol is 'split'; the DataFrame"),
        ({"imageCol": "key"}, "^imageCol 'key' is of type int; expected encoded files"),
        ({"labelCol": "image"}, "^labelCol 'image' is of type binary; expected one class"),
        ({"weightCol": "label"}, "^weightCol 'label' is of type string; expected numbers of 0 or more"),
        ({"validationCol": "label"}, "^validationCol 'label' is of type string; expected a boolean"),
        ({"validationCol": "key"}, "^validationCol 'key' is of type int; expected a boolean"),
        ({"predictionCol": "label"}, "^predictionCol is 'label', which the DataFrame has already"),
        ({"probabilityCol": "prediction"}, "^probabilityCol is 'prediction', which predictionCol names too"),
        ({"predictionIndexCol": "index"}, "^predictionIndexCol is set, but labelCol has no indices.*StringIndexer"),
        ({"config": {"training.epoch": 3}}, "did you mean"),
    ],
)
def test_columns_and_params_that_do_not_fit(rows, quick, params, said):
    if "config" in params:
        params = {**params, "config": {**quick["config"], **params["config"]}}
    refuse(rows, said, **{**quick, **params})


def test_a_column_twice(rows, quick):
    refuse(rows.select("*", F.col("label")), "several columns of that name", **quick)


def test_labels_that_are_null_or_not_a_number(rows, quick):
    some = F.when(F.col("key") != 7, F.col("label"))
    refuse(rows.withColumn("label", some), "a row has no label", SourceError, **quick)
    numbers = F.when(F.col("key") != 7, F.col("key") % 3).otherwise(float("nan"))
    refuse(rows.withColumn("label", numbers), "a row has no label", SourceError, **quick)


def test_one_class_or_no_rows(rows, quick):
    refuse(rows.where("label = 'one'"), "there is one class, 'one'; a classifier needs", SourceError, **quick)
    refuse(rows.limit(0), "the DataFrame has no rows", SourceError, **quick)


def test_labels_that_are_no_classes(rows, quick):
    several = F.concat("label", F.lit("|"), F.col("key") % 2)
    refuse(rows.withColumn("label", several), "several classes.*labelCol", SourceError, **quick)


@pytest.mark.long
def test_weights_that_are_negative(rows, quick):
    negative = F.when(F.col("key") == 3, -1.0).otherwise(1.0)
    refuse(rows.withColumn("w", negative), "has the weight '-1.0'", SourceError, **{**quick, "weightCol": "w"})


@pytest.mark.long
def test_rows_that_are_all_for_validation(rows, quick):
    all_of_them = {**quick, "validationCol": "held"}
    refuse(rows.withColumn("held", F.lit(True)), "no sample is left for training", SourceError, **all_of_them)


def test_many_images_that_cannot_be_read(spark, quick):
    good = digit_rows()
    before = catalog.versions(quick["storeRoot"], "images")
    bad = [(key, None if key % 2 else b"no image", label) for key, _, label in good[:9]]
    frame = spark.createDataFrame([*bad, *good[9:]], "key int, image binary, label string")
    said = r"9 of 120 files cannot be used \(.*empty.*\), more than dataset.max_bad_fraction 0.01"
    refuse(frame, said, SourceError, **quick)
    assert catalog.versions(quick["storeRoot"], "images") == before


def test_a_plan_that_fails(rows, quick):
    failing = rows.withColumn("label", F.raise_error(F.lit("no such service")).cast("string"))
    refuse(failing, "the DataFrame cannot be read: .*no such service", SourceError, **quick)
