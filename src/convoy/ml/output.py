"""Added columns: predictions of Convoy's scorer in the form that stages of ``pyspark.ml`` expect."""

from collections.abc import Sequence

from pyspark.ml.functions import array_to_vector
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from convoy.errors import ConvoyError
from convoy.ml.params import HandlesInvalid, column_of, value_of
from convoy.ml.rows import field_of
from convoy.models.package import ModelPackage


def scored(rows: DataFrame, image: str, role: str, package: ModelPackage, *, embeddings: bool) -> DataFrame:
    """Return the rows with the columns that ``score_images`` adds; their own columns are ``own_0``, ``own_1``, ...

    A stage before may have added columns with the names of the scorer's.

    Args:
        rows: Any rows.
        image: The column of images.
        role: The param that names it.
        package: The model.
        embeddings: Add ``embedding`` instead of ``probabilities``.

    Raises:
        ConfigError: There is no such column, or one of a type that cannot hold images.
        ModelError: The model cannot take the column.
    """
    from convoy.inference.dataframe import score_images
    from convoy.inference.input_columns import check_fits, image_column

    field_of(rows, role, image)
    try:
        check_fits(rows, *image_column(rows, image), package)
    except ConvoyError as error:
        raise type(error)(f"{role}: {error}") from None
    renamed = rows.toDF(*(own(i) for i in range(len(rows.columns))))
    return score_images(
        renamed, package, own(rows.columns.index(image)), probabilities=not embeddings, embeddings=embeddings
    )


def own(position: int) -> str:
    """Return the name that a column of the input has beside the scorer's."""
    return f"own_{position}"


def with_columns(
    rows: DataFrame, result: DataFrame, params: HandlesInvalid, added: Sequence[tuple[str | None, Column]]
) -> DataFrame:
    """Return the input's columns under their names, then the added ones.

    Args:
        rows: The input.
        result: What ``scored`` returned for it.
        params: What becomes of rows that cannot be scored.
        added: (name, or None if it is not wanted; the column).
    """
    error, handling = F.col("error"), value_of(params, "handleInvalid")
    if handling == "skip":
        result = result.where(error.isNull())
    columns = [F.col(own(i)).alias(name) for i, name in enumerate(rows.columns)]
    for name, values in added:
        if name is not None:
            if handling == "error":
                reason = F.concat(F.lit("an image cannot be scored (handleInvalid is error): "), error)
                values = F.when(error.isNotNull(), F.raise_error(reason)).otherwise(values)
            columns.append(values.alias(name))
    if name := column_of(params, "errorCol"):
        columns.append(error.alias(name))
    return result.select(*columns)


def vector(values: Column) -> Column:
    """Return arrays of numbers as vectors, null for null."""
    return F.when(values.isNotNull(), array_to_vector(values))
