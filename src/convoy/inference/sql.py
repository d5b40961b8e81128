"""The scorer as a SQL function: ``SELECT path, classify(content).prediction FROM images``."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.functions import pandas_udf
from pyspark.sql.types import StructType

from convoy.cluster.session_check import check_session
from convoy.errors import ConfigError
from convoy.inference.arrow_udf import ScoreTask, score
from convoy.inference.samples import Kind
from convoy.models.package import ModelPackage

_COLUMN = "image"


def register_udf(
    spark: SparkSession,
    name: str,
    model: str | ModelPackage,
    *,
    top_k: int | None = None,
    probabilities: bool = False,
    embeddings: bool = False,
    half_precision: bool = False,
    batch_size: int = 256,
) -> Any:
    """Register a model as a SQL function of one column.

    It takes the columns that ``score_images`` takes, and returns a struct of the columns that ``score_images`` adds. An
    alias in the URI is resolved now: register again to follow it.

    Args:
        spark: The session that the function is registered in.
        name: Name of the function.
        model: MLflow model URI, e.g. ``models:/digits@champion``.
        top_k: As for ``score_images``, like the following arguments.
        probabilities: See there.
        embeddings: See there.
        half_precision: See there.
        batch_size: See there.

    Returns:
        The function, for DataFrames: ``df.select(classify("content").prediction)``.

    Raises:
        ClusterError: The Python workers lack Convoy, or a server of Spark Connect is too old.
        ConfigError: The name is not an identifier, or an option is wrong.
        TrackingError: There is no such model; the message lists the existing ones.
    """
    from convoy.inference.dataframe import checked_outputs, score_task
    from convoy.tracking.model_io import load_package

    check_session(spark)
    if not name.isidentifier():
        raise ConfigError(f"{name!r} is not a name for a SQL function; expected letters, digits and _")
    outputs = checked_outputs(top_k, probabilities, embeddings, batch_size)
    package = load_package(model) if isinstance(model, str) else model
    task = replace(score_task(spark, package, batch_size, outputs, half_precision), column=_COLUMN)
    function = pandas_udf(_scorer(task), returnType=StructType(outputs.fields))  # type: ignore[call-overload]
    return spark.udf.register(name, function)


def _scorer(task: ScoreTask) -> Callable[[Iterator[pd.Series]], Iterator[pd.DataFrame]]:
    """Return a function for PySpark, whose type hints declare the kind of UDF."""

    def classify(columns: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        return score_series(columns, task)

    return classify


def score_series(columns: Iterable[pd.Series | pd.DataFrame], task: ScoreTask) -> Iterator[pd.DataFrame]:
    """Score columns as PySpark passes them to pandas UDFs. Runs on a worker.

    Raises:
        ConfigError: They hold no images.
    """
    # The type of a column that is all null is unknown.
    for kind, batches in itertools.groupby(map(_batch, columns), key=lambda batch: _kind(batch.column(0).type)):
        for batch in score(batches, replace(task, kind=kind)):
            yield batch.to_pandas()


def _batch(column: pd.Series | pd.DataFrame) -> pa.RecordBatch:
    if isinstance(column, pd.DataFrame):  # a struct's fields; integers beside nulls have become floats
        types = {name: pa.int32() for name in ("height", "width", "nChannels", "mode")} | {"bytes": pa.binary()}
        fields = {
            name: pa.Array.from_pandas(values).cast(types[name]) if name in types else pa.Array.from_pandas(values)
            for name, values in column.items()
        }
        array = pa.StructArray.from_arrays(list(fields.values()), list(fields))
    else:
        array = pa.Array.from_pandas(column)
    array = array.cast(pa.binary()) if pa.types.is_null(array.type) else array
    array = array.cast(pa.string()) if pa.types.is_large_string(array.type) else array  # from pandas 3
    return pa.RecordBatch.from_arrays([array], names=[_COLUMN])


def _kind(found: pa.DataType) -> Kind:
    if pa.types.is_binary(found):
        return "bytes"
    if pa.types.is_string(found):
        return "path"
    if pa.types.is_struct(found):
        return "file" if found.get_field_index("bytes") >= 0 else "struct"
    if pa.types.is_list(found):
        return "array"
    raise ConfigError(
        f"a column of {found} holds no images; give image files, their paths or base64, or arrays of numbers"
    )
