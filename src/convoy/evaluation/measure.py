"""Measure a model on a split, distributed over Spark's workers; every row counts once."""

import functools
from pathlib import Path

import pandas as pd
from pyspark.sql import SparkSession

from convoy.dataset.manifest import Manifest
from convoy.evaluation.metrics import Evaluation, evaluate
from convoy.inference.dataframe import row_groups_of, score_task
from convoy.inference.worker import MEASURE_COLUMNS, measure_row_groups
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
    row_groups = row_groups_of(spark, path, manifest, split, package)
    task = score_task(spark, package, _BATCH_SIZE)
    rows: pd.DataFrame = row_groups.mapInArrow(
        functools.partial(measure_row_groups, task=task, codec=manifest.codec), MEASURE_COLUMNS
    ).toPandas()
    return evaluate(
        rows["label"].to_numpy(),
        rows["prediction_index"].to_numpy(),
        rows["rank_of_true"].to_numpy(),
        rows["probability_of_true"].to_numpy(),
        len(manifest.classes),
        top_k,
    )
