"""Measure a model on a split, distributed over Spark's workers; every row counts once."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

from convoy.dataset.manifest import Manifest
from convoy.evaluation.metrics import Evaluation, Outcomes, evaluate
from convoy.inference.dataframe import row_groups_of, score_task
from convoy.inference.worker import measure_columns, measure_row_groups
from convoy.models.package import ModelPackage

_BATCH_SIZE = 256


def measure(
    spark: SparkSession, package: ModelPackage, path: Path, manifest: Manifest, split: str, top_k: int
) -> Evaluation:
    """Evaluate a model on a split of a dataset version.

    Raises:
        DatasetError: No such split.
        ModelError: The model does not fit the dataset.
    """
    outcomes, _ = measure_rows(spark, package, [], path, manifest, split)
    return evaluate(outcomes, len(manifest.classes), top_k)


def measure_rows(
    spark: SparkSession,
    package: ModelPackage,
    others: Sequence[ModelPackage],
    path: Path,
    manifest: Manifest,
    split: str,
) -> tuple[Outcomes, list[np.ndarray]]:
    """Let a model, and others beside it, say what each row of a split is; the rows are read once for all of them.

    Args:
        spark: The session.
        package: The model.
        others: Models that fit the dataset as well.
        path: Folder of the dataset version.
        manifest: Its manifest.
        split: Name of the split.

    Returns:
        (the model's outcomes, for each other model its predictions for the same rows in the same order: int (N,)).

    Raises:
        DatasetError: No such split.
        ModelError: The model does not fit the dataset.
    """
    row_groups = row_groups_of(spark, path, manifest, split, package)
    task, *tasks = (score_task(spark, each, _BATCH_SIZE) for each in (package, *others))
    rows: pd.DataFrame = row_groups.mapInArrow(
        functools.partial(measure_row_groups, task=task, others=tasks, codec=manifest.codec),
        measure_columns(len(others)),
    ).toPandas()
    outcomes = Outcomes(
        rows["label"].to_numpy(),
        rows["prediction_index"].to_numpy(),
        rows["rank_of_true"].to_numpy(),
        rows["probability_of_true"].to_numpy(),
        rows["confidence"].to_numpy(),
    )
    return outcomes, [rows[f"other_{i}"].to_numpy() for i in range(len(others))]
