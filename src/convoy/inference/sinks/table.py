"""Write scored rows to a table of Spark's catalog.

A table that has the columns of the result keeps its definition, also when its rows are replaced: partitions, order of
the columns, properties, comments, format and location. With other columns it is replaced by a new table if nothing of
that kind would be lost; otherwise the job refuses before it scores.
"""

from contextlib import suppress

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from convoy.cluster.session_facts import has_format, setting, settings
from convoy.cluster.spark_errors import SPARK_ERRORS
from convoy.config import ScoringConfig
from convoy.console import say
from convoy.errors import ConfigError
from convoy.inference.arrow_chunks import quoted
from convoy.inference.sinks import increment
from convoy.inference.sinks.increment import counted
from convoy.inference.sinks.result import OURS, SinkResult, check_errors
from convoy.inference.sinks.table_definition import TableDefinition, table_definition

TABLE = "table:"
# Overwriting replaces all partitions, even if the session's mode is dynamic; appending may add some in Hive's format.
_INSERT = {"spark.sql.sources.partitionOverwriteMode": "static", "hive.exec.dynamic.partition.mode": "nonstrict"}
_LASTING = "set spark.sql.catalogImplementation to hive in spark.conf"


def table_name(given: str) -> str:
    """Return the table name in ``scoring.output``; raises ``ConfigError`` if it is empty."""
    name = given.removeprefix(TABLE)
    if not name:
        raise ConfigError("scoring.output is 'table:'; expected table:<name>, e.g. table:default.scores")
    return name


def read_table(spark: SparkSession, given: str) -> DataFrame | None:
    """Return the rows of an earlier result, or None if there is no such table.

    Raises:
        ConfigError: It is a table with other columns, or the name is empty.
    """
    try:
        if not spark.catalog.tableExists(table_name(given)):
            return None
        earlier = spark.table(table_name(given))
    except SPARK_ERRORS as error:
        raise _refused(given, error) from None
    if not set(earlier.columns) >= OURS:
        raise ConfigError(
            f"scoring.output {given!r} is a table that holds something else ({', '.join(earlier.columns)[:200]});"
            " choose another"
        )
    return earlier


def write_table(spark: SparkSession, scored: DataFrame, section: ScoringConfig, earlier: tuple[int, int]) -> SinkResult:
    """Write rows to a table, once all of them are scored.

    They are kept on the executors' disks until then, so that nothing is scored twice, and the table does not change
    before the share of errors is known. (A cache would not work: Spark drops it when a table changes that the rows were
    compared with.)

    Args:
        spark: The session.
        scored: The rows.
        section: The output table and options.
        earlier: (rows, rows with an error) that count with the new ones for ``scoring.max_error_fraction``.

    Returns:
        The rows, kept until the session ends.

    Raises:
        SourceError: Too many rows have an error; the message has the most frequent one.
        ConfigError: The table cannot be created or written to.
    """
    made = _make(spark, scored.schema, section)
    try:
        kept = scored.localCheckpoint()
        rows, errors = counted(kept)
        check_errors(rows, errors, earlier, section.max_error_fraction, lambda: _commonest_error(kept))
        _write(spark, kept, section, overwrite=section.write_mode == "overwrite" and not made)
    except BaseException:
        if made:
            with suppress(Exception):  # the JVM may be gone
                spark.sql(f"DROP TABLE IF EXISTS {made}")
        raise
    return SinkResult(section.output, rows, errors, kept)


def _make(spark: SparkSession, schema: StructType, section: ScoringConfig) -> str | None:
    """Create the table if it is missing, and return its name then: errors appear before hours of work."""
    name = table_name(section.output)
    try:
        if section.format == "delta" and not has_format(spark, "delta"):
            raise _no_delta(section.output)
        if spark.catalog.tableExists(name):
            table = table_definition(spark, name)
            if table.is_view:
                raise ConfigError(f"scoring.output {section.output!r} is a view; expected the name of a table")
            if section.write_mode == "overwrite":
                _check_replaceable(table, schema, section)
            return None
        spark.createDataFrame([], schema).write.format(section.format).saveAsTable(name)
    except SPARK_ERRORS as error:
        raise _refused(section.output, error) from None
    if setting(spark, "spark.sql.catalogImplementation") == "in-memory":
        say(
            f"warning: {section.output} exists only in this Spark session, whose catalog is in memory; {_LASTING}"
            " for a persistent one"
        )
    return name


def _check_replaceable(table: TableDefinition, schema: StructType, section: ScoringConfig) -> None:
    """Raise ``ConfigError`` if mode overwrite would lose something of a table's definition."""
    if table.provider == "hive" and table.partitioned:  # Hive replaces the partitions that have new rows, and no others
        raise ConfigError(
            f"scoring.output {section.output!r} is a partitioned table of format hive, whose rows cannot be replaced as"
            " a whole; use scoring.mode append, or create the table with USING parquet"
        )
    lost = [*table.kept, *([f"its format {table.provider}"] if table.provider not in ("", section.format) else [])]
    if lost and not table.has_columns(schema):
        try:
            increment.check_columns(schema, table.schema, section.output)
        except ConfigError as error:
            raise ConfigError(
                f"{str(error).partition(';')[0]}; replacing the table would lose {', '.join(lost)}: give the same input"
                " and options (scoring.columns, top_k, probabilities, embeddings), or drop or alter the table first"
            ) from None


def _write(spark: SparkSession, kept: DataFrame, section: ScoringConfig, overwrite: bool) -> None:
    name = table_name(section.output)
    try:
        if overwrite and not table_definition(spark, name).has_columns(kept.schema):
            options = {"overwriteSchema": "true"} if section.format == "delta" else {}
            kept.write.format(section.format).mode("overwrite").options(**options).saveAsTable(name)
            return
        rows = kept.select(*(quoted(column) for column in spark.table(name).columns))
        with settings(spark, _INSERT):
            rows.write.insertInto(name, overwrite)
    except SPARK_ERRORS as error:
        raise _refused(section.output, error) from None


def _commonest_error(kept: DataFrame) -> str:
    counts = kept.where("error is not null").groupBy("error").count()
    return str(counts.orderBy(F.desc("count"), "error").first()["error"])  # type: ignore[index]


def _refused(given: str, error: Exception) -> ConfigError:
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("An error occurred")]
    reason = lines[0] if lines else type(error).__name__
    if "DATA_SOURCE_NOT_FOUND" in str(error) or "Failed to find data source" in str(error):
        return _no_delta(given)
    if "LOCATION_ALREADY_EXISTS" in str(error):
        hint = f"; a catalog in memory forgets its tables and leaves their files: {_LASTING}, and remove the folder"
    else:
        hint = ""
    return ConfigError(f"scoring.output {given!r} cannot be written to: {reason.strip().rstrip('.')[:300]}{hint}")


def _no_delta(given: str) -> ConfigError:
    return ConfigError(
        f"scoring.output {given!r} cannot be written to: Spark does not have the format delta; it needs its jar: see"
        " spark.jars.packages in spark.conf, or use scoring.format parquet"
    )
