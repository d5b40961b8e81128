"""What goes into a run, and what does not."""

import pytest

from convoy.tracking.runs import flatten, without_secrets


def test_fields_are_named_as_on_the_command_line():
    assert flatten({"a": {"b": {"c": 1}, "d": None}, "e": {}}) == {"a.b.c": 1, "a.d": None, "e": {}}


@pytest.mark.parametrize(
    "name",
    [
        "spark.conf.spark.hadoop.fs.s3a.secret.key",
        "spark.conf.spark.hadoop.fs.s3a.access.key",
        "x.apiToken",
        "db.password",
    ],
)
def test_secrets_are_not_logged(name):
    assert without_secrets(name, "hunter2") == "(redacted)"


@pytest.mark.parametrize(
    ("name", "value", "logged"),
    [
        ("tracking.uri", "https://user:hunter2@mlflow.example:5000/x", "https://mlflow.example:5000/x"),
        ("tracking.uri", "sqlite:///work/mlflow.db", "sqlite:///work/mlflow.db"),
        ("dataset.name", "tokens@home", "tokens@home"),
    ],
)
def test_credentials_in_urls_are_not_logged_and_all_else_is(name, value, logged):
    assert without_secrets(name, value) == logged
