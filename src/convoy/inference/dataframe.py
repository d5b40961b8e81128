"""Score what the configuration names, as a DataFrame."""

import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from convoy.config import Config
from convoy.dataset import catalog
from convoy.dataset.manifest import Manifest
from convoy.dataset.sources.folder import files_below
from convoy.errors import ConfigError, ModelError, SourceError
from convoy.inference.worker import PREDICTION_COLUMNS, ScoreTask, score_paths, score_row_groups
from convoy.models.package import ModelPackage


def score_task(spark: SparkSession, package: ModelPackage, batch_size: int) -> ScoreTask:
    """Send a model to the executors."""
    threads = int(spark.sparkContext.getConf().get("spark.task.cpus", "1") or 1)
    return ScoreTask(spark.sparkContext.broadcast(package), batch_size, threads)


def check_input(config: Config) -> None:
    """Raise what is wrong with ``scoring.input`` and can be seen before any Spark work."""
    given = os.path.expanduser(config.scoring.input or "")
    if not given:
        raise ConfigError("scoring.input is missing; give a folder of images, or dataset:test")
    if split := split_named(given):
        Manifest.load(_version(config)).split(split)
    elif not os.path.isdir(given):
        raise SourceError(f"scoring.input {given!r} is no folder; expected a folder of images, or dataset:<split>")
    elif next(files_below(given), None) is None:
        raise SourceError(f"scoring.input {given!r} has no files; expected a folder of images")


def score_input(spark: SparkSession, config: Config, package: ModelPackage) -> DataFrame:
    """Score what ``scoring.input`` names, once ``check_input`` has passed.

    Raises:
        ModelError: It names files, and the model takes arrays; or it does not fit the dataset.
    """
    given = os.path.expanduser(str(config.scoring.input))
    task = score_task(spark, package, config.scoring.batch_size)
    if split := split_named(given):
        path = _version(config)
        return score_dataset(spark, path, Manifest.load(path), split, task)
    if package.geometry is None:
        raise ModelError(
            f"{package.uri} takes arrays, {package.spec}, and scoring.input {given!r} is a folder of images; ingest the"
            " arrays and give dataset:<split>"
        )
    return score_folder(spark, given, task)


def _version(config: Config) -> Path:
    return catalog.find(config.dataset.root, config.dataset.name, config.dataset.version)


def score_folder(spark: SparkSession, folder: str, task: ScoreTask) -> DataFrame:
    """Score every file below a folder, hidden ones apart.

    Returns:
        ``path`` (absolute) and the prediction columns; one row per file.
    """
    listed = spark.range(1).mapInArrow(functools.partial(list_files, folder=os.path.abspath(folder)), "path string")
    paths = listed.repartition(4 * spark.sparkContext.defaultParallelism)
    return paths.mapInArrow(functools.partial(score_paths, task=task), f"path string, {PREDICTION_COLUMNS}")


def score_dataset(spark: SparkSession, path: Path, manifest: Manifest, split: str, task: ScoreTask) -> DataFrame:
    """Score a split of a dataset version.

    Returns:
        ``label``, ``path``, ``digest`` and the prediction columns; one row per sample.
    """
    row_groups = row_groups_of(spark, path, manifest, split, task.model.value)
    columns = f"label int, path string, digest string, {PREDICTION_COLUMNS}"
    return row_groups.mapInArrow(functools.partial(score_row_groups, task=task, codec=manifest.codec), columns)


def row_groups_of(spark: SparkSession, path: Path, manifest: Manifest, split: str, package: ModelPackage) -> DataFrame:
    """One row (file, row_group) per row group of a split, spread over the workers.

    Raises:
        DatasetError: No such split.
        ModelError: The model takes samples of another shape or type, or has other classes.
    """
    entry = manifest.split(split)
    what = f"dataset {manifest.name} {manifest.version}"
    if manifest.spec != package.spec:
        raise ModelError(
            f"{package.uri} takes samples of {package.spec}, {what} has {manifest.spec}; choose the dataset that the"
            " model was trained on, or ingest with its geometry"
        )
    if manifest.classes != package.classes:
        raise ModelError(f"{package.uri} knows the classes {package.classes}, {what} has {manifest.classes}")
    rows = [(str(path / split / file.name), i) for file in entry.files for i in range(len(file.row_groups))]
    work = functools.partial(list_row_groups, row_groups=rows)
    return spark.range(0, len(rows), numPartitions=len(rows)).mapInArrow(work, "file string, row_group int")


def list_row_groups(
    batches: Iterable[pa.RecordBatch], row_groups: Sequence[tuple[str, int]]
) -> Iterator[pa.RecordBatch]:
    """Turn rows (id) into the row groups of those indices. Runs on a worker."""
    for batch in batches:
        files, indices = zip(*(row_groups[i] for i in batch.column("id").to_pylist()), strict=True)
        yield pa.RecordBatch.from_pydict({"file": list(files), "row_group": pa.array(indices, pa.int32())})


def list_files(batches: Iterable[pa.RecordBatch], folder: str) -> Iterator[pa.RecordBatch]:
    """Turn the one row there is into one row per file below the folder. Runs on a worker."""
    for _ in batches:
        paths = pa.array(sorted(files_below(folder)), pa.string())
        yield from pa.table({"path": paths}).to_batches(max_chunksize=10_000)


def split_named(given: str) -> str | None:
    """Return the split that ``dataset:<split>`` names, or None for a folder.

    Raises:
        ConfigError: ``dataset:`` without a split.
    """
    if not given.startswith("dataset:"):
        return None
    split = given.removeprefix("dataset:")
    if not split:
        raise ConfigError("scoring.input is 'dataset:'; expected dataset:train, dataset:validation or dataset:test")
    return split
