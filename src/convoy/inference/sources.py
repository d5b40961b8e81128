"""Scoring of ``scoring.input``: a folder, a glob, a table, or a split of a dataset."""

import functools
import glob
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from convoy.cluster.session_facts import is_dbfs_default, parallelism, set_property, setting
from convoy.config import Config, ScoringConfig
from convoy.dataset.sources.files import files_below, files_matching, find_ignored
from convoy.dataset.sources.rows import glob_escaped, spark_errors
from convoy.dataset.sources.table_folders import TableFolder, find_table
from convoy.dataset.sources.table_reading import read_table_folder
from convoy.dataset.storage import catalog
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.dataset.storage.object_frame import read_objects
from convoy.dataset.storage.object_path import ObjectPath
from convoy.errors import ConfigError, ModelError, SourceError
from convoy.inference.arrow_udf import DATASET_COLUMNS
from convoy.inference.dataframe import check_dataset, checked_outputs, score_dataset, score_images, score_task
from convoy.models.package import ModelPackage
from convoy.monitoring.image_stats import ImageStats

_EXPECTED = "expected a folder of images, a glob, Parquet files, table:<name>, or dataset:<split>"
_FIELD, _TABLE, _DATASET = "scoring.input", "table:", "dataset:"
_URI = "uri"
_ROWS_READ, _FEW, _USUAL = "spark.sql.parquet.columnarReaderBatchSize", "32", "4096"

Select = Callable[[DataFrame], DataFrame]
"""Function that selects the rows of the input to score."""


def check_input(config: Config) -> None:
    """Raise an error for a wrong ``scoring.input`` that can be detected before any Spark work."""
    given = os.path.expanduser(config.scoring.input or "")
    if not given:
        raise ConfigError(f"scoring.input is missing; {_EXPECTED}")
    if config.scoring.stream:
        if not os.path.isdir(given):
            raise SourceError(f"scoring.input {given!r} is not a folder; scoring.stream needs one")
        if (found := find_table(given, _FIELD)) is not None:
            raise SourceError(
                f"scoring.input {given!r} is a {found.title} table; scoring.stream needs a folder of images"
            )
        return  # the folder may be empty: files arrive later
    if split := split_named(given):
        Manifest.load(_version(config)).split(split)
    elif given.startswith(_TABLE):
        if not given.removeprefix(_TABLE):
            raise ConfigError("scoring.input is 'table:'; expected table:<name>, e.g. table:default.images")
    elif find_table(given, _FIELD) is not None:
        return
    elif is_glob(given):
        if next(files_matching(given), None) is None:
            raise SourceError(f"scoring.input {given!r} matches nothing; {_EXPECTED}")
    elif not os.path.isdir(given):
        reason = "is not a folder" if os.path.exists(given) or not given.endswith(".parquet") else "does not exist"
        raise SourceError(f"scoring.input {given!r} {reason}; {_EXPECTED}")
    elif next(files_below(given), None) is None:
        raise SourceError(f"scoring.input {given!r} has no files; expected a folder of images")


def list_input(config: Config, most: int) -> list[str] | None:
    """List the files that ``scoring.input`` names; those of a dataset are not listed, because its version names them.

    Args:
        config: Sections ``scoring`` and ``dataset``.
        most: Number of files to list at most.

    Returns:
        Paths; None for a table, for Parquet at a URL, and for more files than that.
    """
    given = os.path.expanduser(str(config.scoring.input))
    if split_named(given):
        return []
    if given.startswith(_TABLE):
        return None
    if is_glob(given):
        found: Iterable[str] = filter(os.path.isfile, files_matching(given))
    elif os.path.isfile(given):
        found = [given]
    elif os.path.isdir(given):
        found = filter(os.path.exists, files_below(given))
    else:
        return None
    listed = list(itertools.islice(found, most + 1))
    return None if len(listed) > most else listed


def input_notes(spark: SparkSession, config: Config) -> list[str]:
    """Return lines about files and links to folders that scoring ignores; those of a stream are counted by batch."""
    given = os.path.expanduser(str(config.scoring.input))
    if config.scoring.stream or split_named(given) or given.startswith(_TABLE):
        return []
    if find_table(given, _FIELD) is not None:
        return []
    path = os.path.abspath(given)
    found = find_ignored(spark, pattern=path) if is_glob(given) else find_ignored(spark, [path])
    return found.lines("score")


def score_input(
    spark: SparkSession,
    config: Config,
    package: ModelPackage,
    select: Select | None = None,
    gauge: ImageStats | None = None,
    *,
    uri: bool = True,
) -> DataFrame:
    """Score the input that ``scoring.input`` names, once ``check_input`` has passed.

    Args:
        spark: The session.
        config: Sections ``scoring`` and ``dataset``.
        package: The model.
        select: Selects the rows to score; None scores all.
        gauge: Counts brightness and sizes of the images.
        uri: Whether files have the column ``uri``.

    Returns:
        For a folder or glob ``path`` (absolute) and ``uri`` (see ``score_files``), for a dataset ``label``, ``path``
        and ``digest``, for a table its columns (or those of ``scoring.columns``); then the prediction columns.

    Raises:
        ModelError: The model does not take the input.
        SourceError: Spark cannot read the table.
    """
    section = config.scoring
    given = os.path.expanduser(str(section.input))
    if split := split_named(given):
        path = _version(config)
        manifest = Manifest.load(path)
        # Stored images have lost their original size, unless the codec keeps the files themselves.
        gauge = gauge if gauge is None or manifest.codec == "keep" else replace(gauge, sizes=False)
        if select is not None:
            check_dataset(package, manifest)
            columns = ["image", *DATASET_COLUMNS]
            if isinstance(path, ObjectPath):
                parts = [path / split / file.name for file in manifest.split(split).files]
                rows = read_objects(spark, parts, rows=int(_FEW)).select(*columns)
            else:
                rows = spark.read.parquet(f"file://{glob_escaped(str(path / split))}").select(*columns)
            return _score(select(rows), package, replace(section, columns=[*DATASET_COLUMNS]), "image", gauge)
        outputs = checked_outputs(section.top_k, section.probabilities, section.embeddings, section.batch_size)
        task = score_task(spark, package, section.batch_size, outputs, section.half_precision)
        return score_dataset(spark, path, manifest, split, replace(task, gauge=gauge))
    table = None if given.startswith(_TABLE) else find_table(given, _FIELD)
    if given.startswith(_TABLE) or table is not None:
        rows = _table(spark, given, table)
        return _score(select(rows) if select else rows, package, section, section.image_column, gauge)
    rows = files(spark, given)
    return score_files(select(rows) if select else rows, package, section, gauge, uri=uri)


def score_files(
    rows: DataFrame,
    package: ModelPackage,
    section: ScoringConfig,
    gauge: ImageStats | None = None,
    *,
    uri: bool = True,
) -> DataFrame:
    """Score files, given as rows ``path``; raises ``ModelError`` if the model does not take images.

    ``uri`` adds the path as Spark's ``binaryFile`` writes it, to join with its rows.
    """
    if package.geometry is None:
        raise ModelError(
            f"{package.uri} takes arrays, {package.spec}, but scoring.input {section.input!r} is a folder of images;"
            " ingest the arrays and give dataset:<split>"
        )
    tasks = 4 * parallelism(rows.sparkSession)
    rows = rows.withColumn(_URI, _uri(rows.sparkSession)) if uri else rows
    return _score(rows.repartition(tasks), package, replace(section, columns=None), "path", gauge)


def has_uri(earlier: DataFrame | None) -> bool:
    """Return whether rows added to an earlier result have ``uri``: older versions of Convoy wrote none."""
    return earlier is None or _URI in earlier.columns


def _uri(spark: SparkSession) -> Column:
    """Return the column ``path`` of local files in the form in which Hadoop prints it, which is not percent-encoded."""
    path = F.col("path")
    local = F.concat(F.lit("file:"), path)
    if not is_dbfs_default(spark):
        return local
    volume = F.when(path.startswith("/Volumes/"), F.concat(F.lit("dbfs:"), path))
    return volume.when(path.startswith("/dbfs/"), F.regexp_replace(path, "^/dbfs", "dbfs:")).otherwise(local)


def _score(
    rows: DataFrame,
    package: ModelPackage,
    section: ScoringConfig,
    column: str | None,
    gauge: ImageStats | None,
) -> DataFrame:
    return score_images(
        rows,
        package,
        column,
        columns=section.columns,
        top_k=section.top_k,
        probabilities=section.probabilities,
        embeddings=section.embeddings,
        half_precision=section.half_precision,
        batch_size=section.batch_size,
        gauge=gauge,
    )


def _version(config: Config) -> Location:
    return catalog.find(config.dataset.root, config.dataset.name, config.dataset.version)


def _table(spark: SparkSession, given: str, table: TableFolder | None) -> DataFrame:
    # Number of rows of a file that Spark's JVM holds at once: with the default of 4,096, large images do not fit.
    if setting(spark, _ROWS_READ, _USUAL) == _USUAL:
        set_property(spark, _ROWS_READ, _FEW)
    with spark_errors(f"scoring.input {given!r}", _EXPECTED):
        if table is not None:
            return read_table_folder(spark, table, f"scoring.input {given!r}")
        return spark.table(given.removeprefix(_TABLE))


def is_glob(given: str) -> bool:
    """Return whether the input is a pattern, unless a file of exactly that name exists."""
    return glob.has_magic(given) and not os.path.exists(given)


def files(spark: SparkSession, given: str) -> DataFrame:
    """Return one row ``path`` for every file below a folder, or that a glob matches, except side files."""
    return spark.range(1).mapInArrow(functools.partial(list_files, given=os.path.abspath(given)), "path string")


def list_files(batches: Iterable[pa.RecordBatch], given: str) -> Iterator[pa.RecordBatch]:
    """Convert the single row to one row per file. Runs on a worker."""
    for _ in batches:
        paths = sorted(files_matching(given) if is_glob(given) else files_below(given))
        yield from pa.table({"path": pa.array(paths, pa.string())}).to_batches(max_chunksize=10_000)


def split_named(given: str) -> str | None:
    """Return the split that ``dataset:<split>`` names, or None for anything else.

    Raises:
        ConfigError: ``dataset:`` without a split.
    """
    if not given.startswith(_DATASET):
        return None
    split = given.removeprefix(_DATASET)
    if not split:
        raise ConfigError("scoring.input is 'dataset:'; expected dataset:train, dataset:validation or dataset:test")
    return split
