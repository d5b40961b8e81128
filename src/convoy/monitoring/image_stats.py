"""Statistics of the images while Spark's workers score them, without a column or a second pass.

The counts reach the driver as a Spark accumulator: sums of a few dozen numbers, in any order. Spark adds those of a
task when the task succeeds, and those of a partition only once if the tasks that score also write the rows, as in
``jobs/score.py``: neither retries nor speculative copies count twice. If a shuffle follows the scoring, or the
DataFrame is computed twice, rows may count twice; the drift check uses only shares, which that hardly changes.
Columns of the rows would be exact in these cases too, but would have to be removed after the rows are written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from pyspark import Accumulator
from pyspark.accumulators import AccumulatorParam
from pyspark.sql import SparkSession

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

    def add(self, images: np.ndarray, sizes: np.ndarray | None, errors: Iterable[int]) -> None:
        """Count images; runs on a worker.

        Args:
            images: uint8 (N, H, W, C), as the network takes them.
            sizes: int32 (N, 2), height and width before resizing; None if they are unknown.
            errors: Rows that hold no image.
        """
        good = np.ones(len(images), bool)
        good[list(errors)] = False
        found = {"brightness": self.profile.brightness.count(brightness(images)[good])}
        if self.sizes and sizes is not None:
            found["height"] = self.profile.height.count(sizes[good, 0])
            found["width"] = self.profile.width.count(sizes[good, 1])
        self.counts.add(found)

    def found(self) -> Mapping[str, np.ndarray]:
        """Return the counts; names that were not measured are missing."""
        return dict(self.counts.value)


def image_stats_for(spark: SparkSession, package: ModelPackage) -> ImageStatsAccumulator | None:
    """Return an accumulator for a model's images, or None if the model has no profile of its training images."""
    if package.training is None or package.training.profile is None or package.geometry is None:
        return None
    return ImageStatsAccumulator(package.training.profile, spark.sparkContext.accumulator({}, _Sums()))
