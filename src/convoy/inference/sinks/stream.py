"""Score new files of a folder with Structured Streaming, each exactly once.

Spark's checkpoint records which files belong to which batch, before the batch is processed. A batch's rows and its
number become visible in the output atomically (``stream_offset``). After a kill Spark repeats the last batch, with the
same files, and it is skipped if its number is in the output already.
"""

import functools
import json
import os
import time
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from convoy.cluster.session_facts import is_connect
from convoy.config import ScoringConfig
from convoy.console import say
from convoy.dataset.sources.rows import glob_escaped
from convoy.dataset.sources.side_files import SIDE_PATH
from convoy.dataset.storage.filesystem import RENAMES, missing_operations
from convoy.errors import ConfigError
from convoy.inference.sinks import increment, publish
from convoy.inference.sinks.folder import count, read_files, write_parquet
from convoy.inference.sinks.result import SinkResult
from convoy.inference.sources import has_uri, score_files
from convoy.inference.stream_offset import StreamOffset
from convoy.models.package import ModelPackage
from convoy.monitoring.image_stats import ImageStats

FILES_PER_BATCH = 10_000
_SCHEMA = "path string, modificationTime timestamp, length bigint, content binary"
_ANY_AGE = "36500d"


def checkpoint_of(target: Path) -> Path:
    """Return the folder of Spark's checkpoint, which records the processed files: beside the output."""
    return target.with_name(f"{target.name}.checkpoint")


def check_stream(target: Path) -> None:
    """Raise ``ConfigError`` if files would be scored twice or left out.

    Either the output or the checkpoint is missing, or the file system does not rename, so that a batch could not become
    visible together with its number.
    """
    try:
        found = missing_operations(target.parent)
    except OSError as error:
        raise ConfigError(f"scoring.output {target} cannot be written to: {error.strerror}; choose another") from None
    if missing := [name for name in RENAMES if name in found]:
        raise ConfigError(
            f"scoring.output {target} is on a file system without {' and '.join(missing)}, which scoring.stream needs;"
            " choose a folder of another file system, or score without scoring.stream in mode incremental"
        )
    checkpoint, position = checkpoint_of(target), StreamOffset.read(target)
    query = _query(checkpoint)
    commits = checkpoint / "commits"
    unknown = position is None and commits.is_dir() and any(name.isdigit() for name in os.listdir(commits))
    if unknown or (position is not None and position.query != query):
        raise ConfigError(
            f"scoring.output {target} and {checkpoint}, where the stream records which files it has scored, do not"
            " belong together; restore the missing one, or remove both to score all files again"
        )


def score_stream(
    spark: SparkSession,
    section: ScoringConfig,
    package: ModelPackage,
    target: Path,
    earlier: DataFrame | None,
    gauge: ImageStats | None = None,
) -> SinkResult:
    """Score the files of ``scoring.input`` that no earlier run has scored, and add the rows to the result.

    Args:
        spark: The session.
        section: Input, output and options.
        package: The model.
        target: The folder of the result.
        earlier: The existing rows; None if there is no result yet.
        gauge: Counts brightness and sizes of the images of all batches.

    Raises:
        ConfigError: The columns are not those of the earlier result.
        ModelError: The model does not take images.
    """
    uri = has_uri(earlier)
    none = score_files(spark.createDataFrame([], "path string"), package, section, uri=uri)
    if earlier is not None:
        increment.check_columns(none.schema, earlier.schema, section.output)
    before, folder = publish.names(target), _folder(section)
    remote = is_connect(spark)  # its batches are scored in a process of the server, where nothing can be counted
    batch = functools.partial(
        score_batch, section=section, package=package, target=target, gauge=None if remote else gauge, uri=uri
    )
    # Spark forgets files by age: without this option, old files that arrive late would be left out.
    files = (
        spark.readStream.format("binaryFile")
        .schema(_SCHEMA)
        .options(recursiveFileLookup="true", maxFilesPerTrigger=FILES_PER_BATCH, maxFileAge=_ANY_AGE)
        .load(f"file://{glob_escaped(folder)}")
        # Paths as Hadoop prints them; the workers read the content, so an unreadable file becomes a row with an error.
        .select(F.regexp_replace("path", "^file:/+", "/").alias("path"))
    )
    writer = files.writeStream.foreachBatch(batch).option("checkpointLocation", f"file://{checkpoint_of(target)}")
    if section.stream_interval is None:
        writer = writer.trigger(availableNow=True)
    else:
        writer = writer.trigger(processingTime=f"{round(section.stream_interval * 1000)} milliseconds")
    query = writer.start()
    try:
        while query.isActive:  # an interrupt within ``awaitTermination`` would break the connection to the JVM
            time.sleep(0.2)
        query.awaitTermination()  # raises the error of the query
    finally:
        query.stop()
    names = frozenset(name for name in publish.names(target) - before if name.endswith(".parquet"))
    rows, errors = count(target, names)
    return SinkResult(str(target), rows, errors, read_files(spark, target, names, none.schema), names)


def score_batch(
    files: DataFrame,
    number: int,
    section: ScoringConfig,
    package: ModelPackage,
    target: Path,
    gauge: ImageStats | None,
    *,
    uri: bool,
) -> None:
    """Score the files of a batch, rows ``path``, and publish the rows together with the number of the batch."""
    position, last = StreamOffset(str(_query(checkpoint_of(target))), number), StreamOffset.read(target)
    if last is not None and last.query == position.query and number <= last.batch:
        return  # it was published before the job was killed
    inside = len(os.path.join(_folder(section), "")) + 1
    is_side = F.substring("path", inside, 2**31 - 1).rlike(SIDE_PATH)
    # A stream cannot wait for better images: those that cannot be scored remain rows with an error.
    scored = score_files(files.where(~is_side), package, section, gauge, uri=uri)
    added = write_parquet(scored, target, add=True, position=position)
    ignored = files.where(is_side).count()
    more = f"; ignored {ignored:,} side files" if ignored else ""
    say(f"batch {number}: {added.rows:,} rows, {added.errors:,} with an error{more}")


def _folder(section: ScoringConfig) -> str:
    return os.path.abspath(os.path.expanduser(str(section.input)))


def _query(checkpoint: Path) -> str | None:
    """Return the stream's id, or None if there is no checkpoint."""
    try:
        return str(json.loads((checkpoint / "metadata").read_text())["id"])
    except FileNotFoundError:
        return None
