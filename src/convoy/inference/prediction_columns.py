"""Predictions as columns, built from arrays without a step per row."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql.types import ArrayType, FloatType, IntegerType, StringType, StructField, StructType

from convoy.inference.predictor import most_probable
from convoy.models.package import ModelPackage

_CLASS = [
    StructField("prediction", StringType()),
    StructField("prediction_index", IntegerType()),
    StructField("probability", FloatType()),
]


@dataclass(frozen=True)
class Outputs:
    """The requested columns, beside the five that are always present.

    Attributes:
        top_k: Column ``top_k``: the given number of most probable classes, the most probable first.
        probabilities: Column ``probabilities``: of all classes, by index.
        embeddings: Column ``embedding``: the input of the last layer with weights.
    """

    top_k: int | None = None
    probabilities: bool = False
    embeddings: bool = False

    @property
    def fields(self) -> list[StructField]:
        """Return the columns' names and Spark types, in order."""
        columns = [*_CLASS, StructField("error", StringType()), StructField("model_version", StringType())]
        columns += [StructField("top_k", ArrayType(StructType(_CLASS)))] if self.top_k else []
        columns += [StructField("probabilities", ArrayType(FloatType()))] if self.probabilities else []
        columns += [StructField("embedding", ArrayType(FloatType()))] if self.embeddings else []
        return columns


def result_columns(
    probabilities: np.ndarray,
    embeddings: np.ndarray,
    errors: Mapping[int, str],
    package: ModelPackage,
    outputs: Outputs,
) -> dict[str, pa.Array]:
    """Build the columns of some rows.

    Args:
        probabilities: float32 (N, K).
        embeddings: float32 (N, D), or (N, 0).
        errors: Row -> why it cannot be scored; its other values are ignored.
        package: The model.
        outputs: The requested columns.

    Returns:
        Name -> column of N values, in the order of ``Outputs.fields``.
    """
    count = len(probabilities)
    index, best, reasons = most_probable(probabilities, errors)
    mask = None
    if reasons:
        mask = np.zeros(count, bool)
        mask[list(reasons)] = True
    names = pa.array(package.classes, pa.string())
    nullable_index = pa.array(index, mask=mask)
    columns = {
        "prediction": names.take(nullable_index),
        "prediction_index": nullable_index,
        "probability": pa.array(best, pa.float32(), mask=mask),
        "error": pa.array([reasons.get(row) for row in range(count)], pa.string())
        if reasons
        else pa.nulls(count, pa.string()),
        "model_version": pa.repeat(pa.scalar(package.uri, pa.string()), count),
    }
    if outputs.top_k:
        columns["top_k"] = _top(probabilities, min(outputs.top_k, probabilities.shape[1]), names, mask)
    if outputs.probabilities:
        columns["probabilities"] = _lists(pa.array(probabilities.ravel(), pa.float32()), count, mask)
    if outputs.embeddings:
        columns["embedding"] = _lists(pa.array(embeddings.ravel(), pa.float32()), count, mask)
    return columns


def _top(probabilities: np.ndarray, k: int, names: pa.Array, mask: np.ndarray | None) -> pa.Array:
    # Stable, so that of equal values the first one comes first, as with ``argmax``.
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(probabilities, order, axis=1)
    index = pa.array(order.ravel().astype(np.int32))
    parts = [names.take(index), index, pa.array(values.ravel(), pa.float32())]
    structs = pa.StructArray.from_arrays(parts, ["prediction", "prediction_index", "probability"])
    return _lists(structs, len(probabilities), mask)


def _lists(values: pa.Array, count: int, mask: np.ndarray | None) -> pa.Array:
    """Return lists of equal length; null where the mask is set."""
    offsets = np.arange(count + 1, dtype=np.int32) * (len(values) // count if count else 0)
    null = None if mask is None else pa.array(mask)
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=null)
