"""Scored rows, counted."""

import pytest

from convoy.monitoring.score_summary import Summary, summarise

pytestmark = pytest.mark.spark

SCHEMA = "prediction string, probability float, error string, model_version string"


def test_errors_are_grouped_by_their_reason_and_classes_are_counted(spark):
    rows = [("cat", 0.5, None, "m")] * 3 + [("dog", 1.0, None, "m")]
    rows += [(None, None, f"truncated: /images/{i}.jpg ends early", "m") for i in range(30)]
    rows += [(None, None, "empty: there are no bytes", "m")] * 2
    rows += [(None, None, f"row {i} has a word that nobody knows", "m") for i in range(3)]
    found = summarise(spark.createDataFrame(rows, SCHEMA).repartition(3))
    assert found == Summary(39, {"truncated": 30, "other": 3, "empty": 2}, {"cat": 3, "dog": 1}, 0.625)
    assert list(found.errors) == ["truncated", "other", "empty"]
    assert found.fields()["errors"] == 35
    assert found.text() == (
        "4 scored: cat 75.0%, dog 25.0%; mean confidence 0.625; errors: truncated 30, other 3, empty 2"
    )


def test_no_rows_and_errors_alone(spark):
    assert summarise(spark.createDataFrame([], SCHEMA)) == Summary(0, {}, {}, None)
    assert Summary(0, {}, {}, None).text() == "no rows"
    found = summarise(spark.createDataFrame([(None, None, "empty: null", "m")], SCHEMA))
    assert found == Summary(1, {"empty": 1}, {}, None)
    assert found.fields()["mean_confidence"] is None
