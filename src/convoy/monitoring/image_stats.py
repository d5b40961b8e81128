"""Statistics of the images while Spark's workers score them, without a second pass.

In a classic session the counts reach the driver as a Spark accumulator: sums of a few dozen numbers, in any order.
Spark adds those of a task when the task succeeds, and those of a partition only once if the tasks that score also write
the rows, as in ``jobs/score.py``: neither retries nor speculative copies count twice. If a shuffle follows the scoring,
or the DataFrame is computed twice, rows may count twice; the drift check uses only shares, which that hardly changes.

A session of Spark Connect has no accumulators. There the workers add columns with each row's bins, which Spark counts
(``DataFrame.observe``) and drops before the rows are written.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
from pyspark import Accumulator
from pyspark.accumulators import AccumulatorParam
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType, StructField

from convoy.cluster.session_facts import is_connect
from convoy.cluster.spark_errors import SPARK_ERRORS
from convoy.images import ImageProfile, brightness
from convoy.models.package import ModelPackage

Counts = dict[str, np.ndarray]
"""``brightness``, ``height``, ``width`` -> int64 (bins,)."""


class _Sums(AccumulatorParam[Counts]):
    def zero(self, value: Counts) -> Counts:
        return {}

    def addInPlace(self, value1: Counts, value2: Counts) -> Counts:
        for name, counts in value2.items():
            value1[name] = value1[name] + counts if name in value1 else counts
        return value1


@dataclass(frozen=True)
class ImageStatsAccumulator:
    """Counts images in the bins of the training images.

    Attributes:
        profile: Profile of the training images.
        counts: The sums so far; only the driver can read them.
        sizes: Whether the images have their original sizes, so that sizes can be compared.
    """

    profile: ImageProfile
    counts: "Accumulator[Counts]"
    sizes: bool = True

    fields: ClassVar[tuple[StructField, ...]] = ()
    """Columns that ``add`` returns."""

    def add(self, images: np.ndarray, sizes: np.ndarray | None, errors: Iterable[int]) -> dict[str, pa.Array]:
        """Count images; runs on a worker.

        Args:
            images: uint8 (N, H, W, C), as the network takes them.
            sizes: int32 (N, 2), height and width before resizing; None if they are unknown.
            errors: Rows that hold no image.

        Returns:
            No columns.
        """
        good = np.ones(len(images), bool)
        good[list(errors)] = False
        found = {"brightness": self.profile.brightness.count(brightness(images)[good])}
        if self.sizes and sizes is not None:
            found["height"] = self.profile.height.count(sizes[good, 0])
            found["width"] = self.profile.width.count(sizes[good, 1])
        self.counts.add(found)
        return {}

    def watch(self, rows: DataFrame) -> DataFrame:
        """Return the rows: their tasks count by themselves."""
        return rows

    def found(self) -> Mapping[str, np.ndarray]:
        """Return the counts; names that were not measured are missing."""
        return dict(self.counts.value)


@dataclass(frozen=True)
class ObservedImageStats:
    """Counts images in the bins of the training images, in a session of Spark Connect.

    Attributes:
        profile: Profile of the training images.
        sizes: Whether the images have their original sizes, so that sizes can be compared.
        observations: Those of all DataFrames that were scored; only the client has them.
    """

    profile: ImageProfile
    sizes: bool = True
    observations: list[Observation] = field(default_factory=list, compare=False)

    def __reduce__(self) -> tuple[type["ObservedImageStats"], tuple[ImageProfile, bool]]:
        """Leave the observations out of what is sent to the workers."""
        return ObservedImageStats, (self.profile, self.sizes)

    @property
    def fields(self) -> tuple[StructField, ...]:
        """Return the columns that ``add`` returns."""
        return tuple(StructField(_column(name), IntegerType()) for name in self._names())

    def add(self, images: np.ndarray, sizes: np.ndarray | None, errors: Iterable[int]) -> dict[str, pa.Array]:
        """Return columns with the bin of each image, null where there is none; arguments as above. Runs on a worker."""
        bad = np.zeros(len(images), bool)
        bad[list(errors)] = True
        unknown = np.ones(len(images), bool)
        values = {"brightness": (brightness(images), bad)}
        for axis, name in enumerate(("height", "width")):
            values[name] = (np.zeros(len(images), np.int64), unknown) if sizes is None else (sizes[:, axis], bad)
        bins = {name: getattr(self.profile, name).bin_of(values[name][0]) for name in self._names()}
        return {_column(name): pa.array(found, pa.int32(), mask=values[name][1]) for name, found in bins.items()}

    def watch(self, rows: DataFrame) -> DataFrame:
        """Return the rows without the columns of ``add``, which are counted when the rows are computed."""
        observation, counted = Observation(), []
        for name in self._names():
            column = F.col(_column(name))
            counted.append(F.count(column).alias(f"{name} all"))
            for number in range(len(getattr(self.profile, name).counts)):
                counted.append(F.sum(F.when(column == number, 1).otherwise(0)).alias(f"{name} {number}"))
        self.observations.append(observation)
        return rows.observe(observation, *counted).drop(*map(_column, self._names()))

    def found(self) -> Mapping[str, np.ndarray]:
        """Return the counts; names that were not measured are missing."""
        total, computed = Counter[str](), False
        for observation in self.observations:
            with suppress(*SPARK_ERRORS):  # these rows were not computed
                total.update({name: count or 0 for name, count in observation.get.items()})
                computed = True
        return {
            name: np.array([total[f"{name} {number}"] for number in range(len(getattr(self.profile, name).counts))])
            for name in self._names()
            if total[f"{name} all"] or (computed and name == "brightness")
        }

    def _names(self) -> tuple[str, ...]:
        return ("brightness", "height", "width") if self.sizes else ("brightness",)


def _column(name: str) -> str:
    return f"__convoy_{name}"


ImageStats = ImageStatsAccumulator | ObservedImageStats


def image_stats_for(spark: SparkSession, package: ModelPackage) -> ImageStats | None:
    """Return what counts a model's images, or None if the model has no profile of its training images."""
    if package.training is None or package.training.profile is None or package.geometry is None:
        return None
    if is_connect(spark):
        return ObservedImageStats(package.training.profile)
    return ImageStatsAccumulator(package.training.profile, spark.sparkContext.accumulator({}, _Sums()))
