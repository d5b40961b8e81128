"""Score a DataFrame, or a split of a dataset."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import IntegerType, StringType, StructField, StructType

from convoy.cluster.session_check import check_session
from convoy.cluster.session_facts import setting
from convoy.cluster.shared_value import share
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ConfigError, ModelError
from convoy.inference import arrow_chunks
from convoy.inference import input_columns as checks
from convoy.inference.arrow_udf import ScoreTask, list_row_groups, score, score_pieces, score_row_groups
from convoy.inference.prediction_columns import Outputs
from convoy.models.package import ModelPackage
from convoy.monitoring.image_stats import ImageStats
from convoy.tracking.model_io import load_package

_FEW_CLASSES = 20  # that are all named in a message
_RECORDS = "spark.sql.execution.arrow.maxRecordsPerBatch"


def score_images(
    df: DataFrame,
    model: str | ModelPackage,
    image_column: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    top_k: int | None = None,
    probabilities: bool = False,
    embeddings: bool = False,
    half_precision: bool = False,
    batch_size: int = 256,
    gauge: ImageStats | None = None,
) -> DataFrame:
    """Classify the images of a DataFrame, lazily, on Spark's workers.

    Every row of the input is a row of the result; for a row that cannot be scored, ``error`` gives the reason.

    Args:
        df: DataFrame with a column of image files (binary; the codec ``raw`` of datasets too), of their paths, base64
            or data URIs (string), of Hugging Face's structs of ``bytes`` and ``path``, of Spark's image structs, or of
            arrays of numbers that have the model's shape, flat or nested.
        model: MLflow model URI, e.g. ``models:/digits@champion``, resolved at MLflow's current tracking URI.
        image_column: The column; None is the first of ``content``, ``image`` and ``path`` that exists.
        columns: Columns of ``df`` to keep; None keeps all of them, including the images.
        top_k: Add ``top_k``, ``array<struct<prediction, prediction_index, probability>>``, the most probable first.
        probabilities: Add ``probabilities``, ``array<float>``, by class index.
        embeddings: Add ``embedding``, ``array<float>``: the input of the last layer that has weights.
        half_precision: Compute in 16 bits: bfloat16 on a CPU, float16 on a GPU.
        batch_size: Most images per call of the network.
        gauge: Counts brightness and sizes of the images while they are scored; None counts nothing.

    Returns:
        The columns kept, then ``prediction`` (class name), ``prediction_index``, ``probability``, ``error``,
        ``model_version``, then the requested ones.

    Raises:
        ConfigError: No such column, one of a type that cannot hold images, a reserved name, or an invalid option.
        ClusterError: The Python workers lack Convoy, or a server of Spark Connect is too old.
        ModelError: The model cannot take the column.
        TrackingError: There is no such model; the message lists the existing ones.
    """
    check_session(df)
    name, kind = checks.image_column(df, image_column)
    outputs = checked_outputs(top_k, probabilities, embeddings, batch_size)
    kept = tuple(df.columns if columns is None else columns)
    checks.check_names(df, kept, outputs)
    package = load_package(model) if isinstance(model, str) else model
    checks.check_fits(df, name, kind, package)
    needed = df.select(*(arrow_chunks.quoted(column) for column in dict.fromkeys([*kept, name])))
    spark = df.sparkSession
    task = score_task(spark, package, batch_size, outputs, half_precision)
    task = replace(task, column=name, kind=kind, kept=kept, gauge=gauge)
    fields = [df.schema[column] for column in kept]
    if kind in ("bytes", "file", "struct"):
        size = arrow_chunks.piece_bytes(int(setting(spark, _RECORDS, "10000")))
        cut = arrow_chunks.split(needed, name, size)
        return _scored(cut, functools.partial(score_pieces, task=task, size=size), task, fields)
    return _scored(needed, functools.partial(score, task=task), task, fields)


def _scored(rows: DataFrame, function: Any, task: ScoreTask, kept: Sequence[StructField]) -> DataFrame:
    """Apply a function that adds the columns of a task to those that are kept."""
    if task.gauge is None:
        return rows.mapInArrow(function, StructType([*kept, *task.outputs.fields]))
    return task.gauge.watch(rows.mapInArrow(function, StructType([*kept, *task.outputs.fields, *task.gauge.fields])))


def checked_outputs(top_k: int | None, probabilities: bool, embeddings: bool, batch_size: int) -> Outputs:
    """Return the requested outputs; raises ``ConfigError`` if a number is below 1."""
    for name, value in (("top_k", top_k), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} is {value}; expected at least 1")
    return Outputs(top_k, probabilities, embeddings)


def score_task(
    spark: SparkSession,
    package: ModelPackage,
    batch_size: int,
    outputs: Outputs | None = None,
    half_precision: bool = False,
) -> ScoreTask:
    """Send a model to the executors, and return the task that scores with it."""
    threads = int(setting(spark, "spark.task.cpus", "1") or 1)
    return ScoreTask(share(spark, package), batch_size, threads, outputs or Outputs(), half_precision)


def score_dataset(spark: SparkSession, path: Location, manifest: Manifest, split: str, task: ScoreTask) -> DataFrame:
    """Score a split of a dataset version, read by the Python workers themselves.

    Returns:
        ``label``, ``path``, ``digest`` and the prediction columns; one row per sample.
    """
    row_groups = row_groups_of(spark, path, manifest, split, task.model.value)
    kept = [
        StructField("label", IntegerType()),
        StructField("path", StringType()),
        StructField("digest", StringType()),
    ]
    return _scored(row_groups, functools.partial(score_row_groups, task=task), task, kept)


def row_groups_of(
    spark: SparkSession, path: Location, manifest: Manifest, split: str, package: ModelPackage
) -> DataFrame:
    """Return one row (file, row_group) per row group of a split, distributed over the workers.

    Raises:
        DatasetError: There is no such split.
        ModelError: The model takes samples of another shape or type, or has other classes.
    """
    entry = manifest.split(split)
    check_dataset(package, manifest)
    rows = [(str(path / split / file.name), i) for file in entry.files for i in range(len(file.row_groups))]
    work = functools.partial(list_row_groups, row_groups=rows)
    return spark.range(0, len(rows), numPartitions=len(rows)).mapInArrow(work, "file string, row_group int")


def check_dataset(package: ModelPackage, manifest: Manifest) -> None:
    """Raise ``ModelError`` unless the model takes the dataset's samples and has its classes."""
    what = f"dataset {manifest.name} {manifest.version}"
    if manifest.spec != package.spec:
        raise ModelError(
            f"{package.uri} takes samples of {package.spec}, {what} has {manifest.spec}; choose the dataset that the"
            " model was trained on, or ingest with its geometry"
        )
    if manifest.classes != package.classes:
        own, others = _differing(package.classes, manifest.classes)
        raise ModelError(f"{package.uri} has the classes {own}, {what} has {others}")


def _differing(own: Sequence[str], others: Sequence[str]) -> tuple[str, str]:
    """Format two lists of classes for a message: of many, their numbers and the first ones that differ."""
    if max(len(own), len(others)) <= _FEW_CLASSES:
        return str(list(own)), str(list(others))
    at = next(
        (i for i, pair in enumerate(zip(own, others, strict=False)) if pair[0] != pair[1]), min(len(own), len(others))
    )
    first, second = (f"{len(c):,}, number {at} {c[at : at + 1]}" for c in (own, others))
    return first, second
