"""What the tests with Spark share: small real image folders, and one session for all of them."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyspark.sql import SparkSession

from convoy.cluster.spark import session
from convoy.config import SparkConfig

QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # for a JVM that starts soon


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A session with four slots, as the jobs build it; jobs called in this process use it too.

    Four are for ranks. Other work is in two parts, also that on hundreds of small files, unless it says otherwise: each
    part is a Python worker, which imports TensorFlow where it scores.
    """
    two = {"spark.default.parallelism": "2", "spark.sql.shuffle.partitions": "2"}
    two |= {"spark.sql.files.minPartitionNum": "2", "spark.sql.files.openCostInBytes": "1"}
    with session("tests", SparkConfig(master="local[4]", conf=two)) as running:
        yield running


def encoded(pixels, kind="PNG", **options):
    """Bytes of an image file: ``pixels`` is an array or a Pillow image."""
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write_images(
    root: Path, classes: dict[str, int], shape: tuple[int, ...] = (6, 5), kind: str = "PNG", seed: int = 0
) -> None:
    """Write ``<root>/<class>/<n>.<kind>``, every image with its own random pixels."""
    generator = np.random.default_rng(seed)
    for name, count in classes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = generator.integers(0, 256, shape, np.uint8)
            (root / name / f"{seed}-{i}.{kind.lower()}").write_bytes(encoded(pixels, kind))
