"""Reading of the tables in folders with Spark: their format, their partition columns as text."""

from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError, Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from convoy.dataset.sources.rows import column, glob_escaped
from convoy.dataset.sources.table_folders import TableFolder, have_same_columns, markers, part_of_table
from convoy.errors import SourceError

_INFERENCE = "spark.sql.sources.partitionColumnTypeInference.enabled"


@contextmanager
def text_partitions(spark: SparkSession) -> Iterator[None]:
    """Read partition columns as text: ``label=007`` and ``label=7`` are two values, which as numbers would be one."""
    before = str(spark.conf.get(_INFERENCE, "true"))
    spark.conf.set(_INFERENCE, "false")
    try:
        yield
    finally:
        spark.conf.set(_INFERENCE, before)


def read_table_folder(spark: SparkSession, table: TableFolder, what: str, scheme: str = "") -> DataFrame:
    """Read a table in files, with the columns of its partition folders.

    Args:
        spark: The session.
        table: The table.
        what: The field and its value, for messages.
        scheme: ``file://`` reads local files also where Spark's default file system is another one.

    Raises:
        SourceError: Spark does not have the table's format.
    """
    if table.format != "parquet":
        check_format(spark, table.format, f"{what} is a {table.title} table")
        return spark.read.format(table.format).load(scheme + table.paths[0])
    reader = spark.read if table.base is None else spark.read.option("basePath", scheme + table.base)
    if not have_same_columns(table):  # else Spark takes the columns of one file
        reader = reader.option("mergeSchema", "true")
    with text_partitions(spark):
        frame = reader.parquet(*(scheme + glob_escaped(path) for path in table.paths))
    for name in dict.fromkeys(name for name, _, _ in table.values):
        pairs = (F.lit(text) for of, *pair in table.values if of == name for text in pair)
        frame = frame.withColumn(name, F.coalesce(F.create_map(*pairs)[column(name)], column(name)))
    return frame


def check_format(spark: SparkSession, name: str, what: str) -> None:
    """Raise ``SourceError`` if Spark does not have a format, e.g. because its jar is missing.

    Args:
        spark: The session.
        name: Spark's name of the format.
        what: What is of that format, for the message.
    """
    try:
        sources = spark._jvm.org.apache.spark.sql.execution.datasources.DataSource  # type: ignore[union-attr]
        sources.lookupDataSource(name, spark._jsparkSession.sessionState().conf())
    except (PySparkException, Py4JJavaError):
        raise SourceError(
            f"{what}, and Spark does not have the format {name}; it needs its jar: see spark.jars.packages in"
            " spark.conf, or write the rows to Parquet files first"
        ) from None


def log_table_at(spark: SparkSession, pattern: str, what: str) -> TableFolder | None:
    """Return the table with a log that a URL or pattern names, as ``find_table`` does for local files.

    Raises:
        SourceError: It names a part of such a table.
    """
    hadoop = spark._jvm.org.apache.hadoop.fs.Path  # type: ignore[union-attr]
    for root, marker, name in markers(pattern):
        path = hadoop(marker)
        try:
            found = path.getFileSystem(spark._jsc.hadoopConfiguration()).globStatus(path)
        except Py4JError:  # there is no such file system, or no access to it: reading the table reports that
            return None
        if found:
            if root != pattern.rstrip("/"):
                raise part_of_table(what, name, root)
            return TableFolder(name, (root,))
    return None
