"""Which versions work together."""

import pytest

from convoy.cluster.compatibility import conflicts, installed, java_versions

CURRENT = {"python": "3.13", "pyspark": "4.3.0", "pyarrow": "25.0.1", "pandas": "3.1.1", "numpy": "2.5.5"}
OLDEST = {"python": "3.11", "pyspark": "3.5.0", "pyarrow": "14.0.1", "pandas": "1.5.3", "numpy": "1.23.5"}


@pytest.mark.parametrize("versions", [CURRENT, OLDEST, {}, {"pyspark": "4.3.0", "pyarrow": None, "pandas": "vendor"}])
def test_versions_that_fit_have_no_conflict(versions):
    assert conflicts(versions) == []


@pytest.mark.parametrize(
    ("versions", "text"),
    [
        (CURRENT | {"pyarrow": "14.0.2", "numpy": "1.26.4"}, "pyspark 4.3.0 needs pyarrow>=18, found 14.0.2"),
        (CURRENT | {"pyspark": "4.1.4", "pyarrow": "14.0.2", "numpy": "1.26.4"}, "pyspark 4.1.4 needs pyarrow>=15"),
        (OLDEST | {"numpy": "2.0.1", "pandas": "2.2.3"}, "pyarrow 14.0.1 needs numpy<2, found 2.0.1"),
        (OLDEST | {"pandas": "3.0.0"}, "pyspark 3.5.0 needs pandas<3, found 3.0.0"),
        (CURRENT | {"tensorflow": "2.19.1"}, "tensorflow 2.19.1 needs python<3.13, found 3.13"),
    ],
)
def test_the_pair_that_does_not_fit_is_named(versions, text):
    (found,) = conflicts(versions)
    assert found.startswith(text)


def test_what_is_installed_here_fits():
    assert conflicts(installed()) == []


@pytest.mark.parametrize(("spark", "javas"), [("3.5.9", (8, 11, 17)), ("4.0.0", (17, 21)), ("4.3.0", (17, 21))])
def test_java_follows_from_spark(spark, javas):
    assert java_versions(spark) == javas
