"""Reading of the tables in folders with Spark: their format, their partition columns as text."""

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from convoy.cluster.session_facts import has_format, is_connect, settings
from convoy.cluster.spark_errors import SPARK_ERRORS
from convoy.dataset.sources.rows import column, glob_escaped
from convoy.dataset.sources.table_folders import TableFolder, have_same_columns, markers, part_of_table
from convoy.errors import SourceError

_WITH_SCHEMA = ("binaryfile", "image", "parquet", "csv", "orc", "json", "avro", "text")  # formats that take one
_INFERENCE = "spark.sql.sources.partitionColumnTypeInference.enabled"


def read_with_text_partitions(
    spark: SparkSession, name: str, options: Mapping[str, str], paths: Sequence[str]
) -> DataFrame:
    """Read partition columns as text: ``label=007`` and ``label=7`` are two values, which as numbers would be one.

    Args:
        spark: The session.
        name: Spark's name of the format.
        options: Its options.
        paths: What Spark reads, patterns included.
    """
    with settings(spark, {_INFERENCE: "false"}):
        frame = spark.read.format(name).options(**options).load([*paths])
        if not is_connect(spark) or name.lower() not in _WITH_SCHEMA:
            return frame
        # Spark Connect analyses a plan when it runs: only a schema keeps the types until then.
        return spark.read.format(name).options(**options).schema(frame.schema).load([*paths])


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
    options = {} if table.base is None else {"basePath": scheme + table.base}
    if not have_same_columns(table):  # else Spark takes the columns of one file
        options["mergeSchema"] = "true"
    paths = [scheme + glob_escaped(path) for path in table.paths]
    frame = read_with_text_partitions(spark, "parquet", options, paths)
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
    if not has_format(spark, name):
        raise SourceError(
            f"{what}, and Spark does not have the format {name}; it needs its jar: see spark.jars.packages in"
            " spark.conf, or write the rows to Parquet files first"
        )


def log_table_at(spark: SparkSession, pattern: str, what: str) -> TableFolder | None:
    """Return the table with a log that a URL or pattern names, as ``find_table`` does for local files.

    Raises:
        SourceError: It names a part of such a table.
    """
    for root, marker, name in markers(pattern):
        try:
            spark.read.format("binaryFile").load(marker).schema  # noqa: B018
        except SPARK_ERRORS as error:
            if "PATH_NOT_FOUND" not in str(error):  # no such file system, or no access: reading reports that
                return None
        else:
            if root != pattern.rstrip("/"):
                raise part_of_table(what, name, root)
            return TableFolder(name, (root,))
    return None
