"""The work of ``jobs/score.py``: score the rows of ``scoring.input``, and write them to ``scoring.output``."""

from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from convoy.config import Config, ScoringConfig
from convoy.console import say
from convoy.dataset.storage.object_path import ObjectPath
from convoy.errors import ConfigError
from convoy.inference.sinks import increment, object_folder, publish
from convoy.inference.sinks.folder import output_folder, read_scores, write_parquet
from convoy.inference.sinks.result import SinkResult
from convoy.inference.sinks.stream import check_stream, score_stream
from convoy.inference.sinks.table import TABLE, read_table, table_name, write_table
from convoy.inference.sources import Select, has_uri, score_input
from convoy.models.package import ModelPackage
from convoy.monitoring.image_stats import ImageStats


def check_output(section: ScoringConfig) -> None:
    """Raise an error for a wrong ``scoring.output`` that can be detected before Spark starts.

    Raises:
        ConfigError: A folder that holds something else, or is inside the input folder; a table without a name; a stream
            whose checkpoint does not belong to the output.
    """
    if section.output.startswith(TABLE):
        table_name(section.output)
        return
    target = output_folder(section.output)
    if isinstance(target, ObjectPath):
        return
    given = Path(str(section.input)).expanduser().absolute()
    if given.is_dir() and target.is_relative_to(given):
        raise ConfigError(
            f"scoring.output {section.output!r} is inside scoring.input {section.input!r}, and would be scored; choose"
            " another folder"
        )
    if section.stream:
        check_stream(target)


def score_to_output(
    spark: SparkSession, config: Config, package: ModelPackage, gauge: ImageStats | None = None
) -> SinkResult:
    """Score and publish, once ``check_input`` and ``check_output`` have passed; ``gauge`` counts brightness and sizes.

    Raises:
        ConfigError: The input has no key, or the columns are not those of the earlier result.
        ModelError: The model does not take the input.
        SourceError: Spark cannot read the input, too many rows have an error, or another job has changed the result.
    """
    section = config.scoring
    if section.output.startswith(TABLE):
        earlier = read_table(spark, section.output)
        scored, before = _new_rows(spark, config, package, earlier, gauge)
        written = write_table(spark, scored, section, before)
    elif isinstance(target := output_folder(section.output), ObjectPath):
        expected = object_folder.names(target) if section.write_mode == "incremental" else None
        earlier = object_folder.read_scores(spark, target)
        scored, before = _new_rows(spark, config, package, earlier, gauge)
        add, fraction = section.write_mode != "overwrite", section.max_error_fraction
        written = object_folder.write_parquet(scored, target, fraction, add=add, earlier=before, expected=expected)
    else:
        incremental = section.write_mode == "incremental"
        expected = publish.names(target) if incremental else None  # before they are read
        earlier = read_scores(spark, target)
        if section.stream:
            written = score_stream(spark, section, package, target, earlier, gauge)
        else:
            scored, before = _new_rows(spark, config, package, earlier, gauge)
            add, fraction = section.write_mode != "overwrite", section.max_error_fraction
            written = write_parquet(scored, target, fraction, add=add, earlier=before, expected=expected)
    if not written.rows and (section.stream or section.write_mode == "incremental"):
        say(f"nothing to score: {section.output} has all of {section.input} already")
    return written


def _new_rows(
    spark: SparkSession,
    config: Config,
    package: ModelPackage,
    earlier: DataFrame | None,
    gauge: ImageStats | None,
) -> tuple[DataFrame, tuple[int, int]]:
    """Return (scored rows to add; existing rows and errors of this model version, if they count)."""
    section = config.scoring
    mode = section.write_mode
    select: Select | None = None
    if mode == "incremental" and earlier is not None:
        there, key, version = earlier, section.key, package.uri

        def select(rows: DataFrame) -> DataFrame:
            return increment.without(rows, there, key, version)

    kept = earlier if mode != "overwrite" or section.output.startswith(TABLE) else None
    scored = score_input(spark, config, package, select, gauge, uri=has_uri(kept))
    if mode == "incremental":
        increment.check_key(scored.columns, section.key, "the result")
    if earlier is None or mode == "overwrite":
        return scored, (0, 0)
    increment.check_columns(scored.schema, earlier.schema, section.output)
    if mode == "append":
        return scored, (0, 0)
    return scored, increment.counted(earlier.where(F.col("model_version") == package.uri))
