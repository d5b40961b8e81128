"""Facts and settings of a session: of a classic one from its SparkContext, of one of Spark Connect by queries."""

import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from convoy.cluster.spark_errors import SPARK_ERRORS
from convoy.console import say

_MANY_ROWS = 10_000  # more than a cluster has cores


def is_connect(spark: object) -> bool:
    """Return whether a session or DataFrame is one of Spark Connect, which has no SparkContext."""
    return any(kind.__module__.startswith("pyspark.sql.connect.") for kind in type(spark).__mro__)


def parallelism(spark: SparkSession) -> int:
    """Return Spark's default number of tasks, usually the number of cores of all executors."""
    return _queried_parallelism(spark) if is_connect(spark) else int(spark.sparkContext.defaultParallelism)


@functools.lru_cache(maxsize=16)  # a Spark job
def _queried_parallelism(spark: SparkSession) -> int:
    numbers = spark.range(_MANY_ROWS).select(F.spark_partition_id().alias("number"))
    [row] = numbers.agg(F.max("number").alias("last")).collect()
    return int(row.last) + 1


def application_id(spark: SparkSession) -> str:
    """Return the id of the application; where a session does not have access to it, the id of the session."""
    if is_connect(spark):
        return setting(spark, "spark.app.id") or str(spark.session_id)  # type: ignore[attr-defined]
    return str(spark.sparkContext.applicationId)


def setting(spark: SparkSession, name: str, default: str = "") -> str:
    """Return a property of a session, or the default if it is not set, or not available as on serverless compute."""
    try:
        return str(spark.conf.get(name, default))
    except SPARK_ERRORS:
        return default


def is_dbfs_default(spark: SparkSession) -> bool:
    """Return whether Spark takes paths without a scheme for those of DBFS, as on Databricks."""
    if is_connect(spark):
        return "DATABRICKS_RUNTIME_VERSION" in os.environ
    default = spark._jsc.hadoopConfiguration().get("fs.defaultFS")
    return str(default).startswith("dbfs:")


@contextmanager
def settings(spark: SparkSession, properties: Mapping[str, str]) -> Iterator[None]:
    """Set properties of a session for a block.

    Properties that a Connect session does not let a client set, as on serverless compute, keep their values.
    """
    before = {name: setting(spark, name) for name in properties}
    for name, value in properties.items():
        set_property(spark, name, value)
    try:
        yield
    finally:
        for name, earlier in before.items():
            set_property(spark, name, earlier)


def set_property(spark: SparkSession, name: str, value: str) -> None:
    """Set a property of a session, or unset it if the value is empty; see ``settings``."""
    try:
        if value:
            spark.conf.set(name, value)
        else:
            spark.conf.unset(name)
    except SPARK_ERRORS:
        if not is_connect(spark):
            raise


def cached(rows: DataFrame) -> DataFrame:
    """Return rows that are computed once and kept on the executors, or as they are where a session keeps none."""
    try:
        return rows.cache()
    except SPARK_ERRORS:
        if not is_connect(rows):
            raise
        say("warning: this session keeps no intermediate results (DataFrame.cache), so files are read several times")
        return rows


def release(rows: DataFrame) -> None:
    """Let go of rows that ``cached`` has returned."""
    with suppress(*(SPARK_ERRORS if is_connect(rows) else ())):
        rows.unpersist()


def has_format(spark: SparkSession, name: str) -> bool:
    """Return whether Spark has a data source of that name, e.g. ``delta``, which needs a jar."""
    try:
        spark.read.format(name).load("/convoy/does/not/exist").schema  # noqa: B018
    except SPARK_ERRORS as error:
        return not any(said in str(error) for said in ("DATA_SOURCE_NOT_FOUND", "Failed to find data source"))
    return True
