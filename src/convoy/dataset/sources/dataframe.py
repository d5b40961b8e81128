"""A DataFrame of the session, as a source: its rows hold images, or name image files."""

from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from convoy.config import ColumnsConfig
from convoy.dataset.sources.rows import spark_errors
from convoy.dataset.sources.table import Columns, TableSource


@dataclass(frozen=True)
class DataFrameSource(TableSource):
    """A table that exists in the session only.

    Its rows are read several times, so they have to be the same each time; ``DataFrame.cache`` makes them so.

    Attributes:
        frame: The DataFrame. It stays on the driver: workers get the source without it.
    """

    frame: DataFrame | None = field(default=None, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "frame": None}

    def check(self) -> None:
        """Raise nothing: there are no files to check."""

    def notes(self, spark: SparkSession) -> list[str]:
        """Return no lines: all rows are samples."""
        return []

    def describe(self) -> dict[str, Any]:
        """Return the kind: a DataFrame has no name."""
        return {"kind": "dataframe"}

    @property
    def _what(self) -> str:
        return "the DataFrame"

    def _is_path(self) -> bool:
        return False

    def _spark_errors(self) -> Any:
        return spark_errors(self._what, "expected one that Spark can compute: see the whole error with df.count()")

    def _load(self, spark: SparkSession) -> tuple[DataFrame, Columns]:
        assert self.frame is not None  # on a worker
        return self.frame, self._find(self.frame)


def source_of_frame(frame: DataFrame, columns: ColumnsConfig) -> DataFrameSource:
    """Return the source of a DataFrame's rows.

    Args:
        frame: One row per image.
        columns: Names of its columns.
    """
    return DataFrameSource("", None, columns, frame)
