"""What a source holds, before anything is decoded: every sample's class, split, content hash and place in the order."""

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from convoy.config import DatasetConfig
from convoy.dataset.manifest import Duplicates
from convoy.dataset.sources import Source
from convoy.dataset.splits import carve, fractions_for
from convoy.errors import SourceError

_TEXTS = ("path", "name", "class_name", "split", "digest", "error", "key")
SCHEMA = ", ".join(f"{name} string" for name in _TEXTS) + ", size long, weight float"
_ARROW = pa.schema([*((name, pa.string()) for name in _TEXTS), ("size", pa.int64()), ("weight", pa.float32())])
_BATCH = 4096


@dataclass(frozen=True)
class Inventory:
    """The samples of a source.

    Attributes:
        samples: One row per sample, cached: ``SCHEMA``. ``key`` sorts them into a random but fixed order;
            ``error`` is set, and ``digest`` empty, where the bytes could not be read.
        counts: (split, class) -> samples.
        fingerprint: Hex hash of the content: bytes, name, class, split and weight of every sample, in any order.
        duplicates: How often the same bytes stand in the source more than once.
        weighted: Whether the source gives weights; without, the column is null.
    """

    samples: DataFrame
    counts: dict[tuple[str, str], int]
    fingerprint: str
    duplicates: Duplicates
    weighted: bool

    @property
    def total(self) -> int:
        """Number of samples."""
        return sum(self.counts.values())


def take_inventory(spark: SparkSession, source: Source, config: DatasetConfig) -> Inventory:
    """List the source and hash every sample's bytes, on the workers.

    Args:
        spark: The session.
        source: The source.
        config: Shares to carve out where the source has no such splits, and what to do about leakage.

    Raises:
        SourceError: There is leakage, and ``dataset.on_leakage`` is ``fail``.
    """
    shares = fractions_for(source.splits(spark), config.validation_fraction, config.test_fraction)
    listing = source.listing(spark)
    if "content" not in listing.columns:  # names alone are cheap to spread evenly
        listing = listing.repartition(4 * spark.sparkContext.defaultParallelism)
    samples = listing.mapInArrow(functools.partial(hash_samples, source=source, shares=shares), SCHEMA).cache()
    duplicates = _count_duplicates(samples)
    if duplicates.across_splits and config.on_leakage == "fail":
        raise SourceError(
            f"{duplicates.across_splits:,} images stand in more than one split, e.g. {_example_of_leakage(samples)};"
            " remove the copies, or set dataset.on_leakage to report or drop"
        )
    if duplicates.across_splits and config.on_leakage == "drop":
        kept = _without_leakage(samples).cache()
        counts, total = _summary(kept)
        samples.unpersist()
        samples = kept
    else:
        counts, total = _summary(samples)
    return Inventory(samples, counts, f"{total % 2**256:064x}", duplicates, "weight" in listing.columns)


def _summary(samples: DataFrame) -> tuple[dict[tuple[str, str], int], int]:
    counts, total = Counter[tuple[str, str]](), 0
    for row in samples.mapInArrow(summarise, "summary string").collect():
        summary = json.loads(row.summary)
        total += summary["total"]
        counts.update({(split, name): count for split, name, count in summary["counts"]})
    return dict(counts), total


def _count_duplicates(samples: DataFrame) -> Duplicates:
    per_image = (
        samples.where("digest != ''")
        .groupBy("digest")
        .agg(F.count("*").alias("n"), F.countDistinct("split").alias("s"), F.countDistinct("class_name").alias("c"))
    )
    row = per_image.agg(
        F.sum(F.col("n") - 1), F.sum((F.col("s") > 1).cast("int")), F.sum((F.col("c") > 1).cast("int"))
    ).first()
    assert row is not None
    return Duplicates(*(int(value or 0) for value in row))


def _example_of_leakage(samples: DataFrame) -> str:
    both = (
        samples.where("digest != ''")
        .groupBy("digest")
        .agg(F.collect_set("split").alias("s"), F.min("name"), F.max("name"))
    )
    row = both.where(F.size("s") > 1).first()
    assert row is not None
    return f"{row[2]!r} and {row[3]!r}"


def _without_leakage(samples: DataFrame) -> DataFrame:
    """Keep, of images that stand in several splits, those of the test split, or else of validation."""
    strength = F.when(F.col("split") == "test", 2).when(F.col("split") == "validation", 1).otherwise(0)
    strongest = F.max(strength).over(Window.partitionBy("digest"))
    marked = samples.withColumn("_strength", strength).withColumn("_strongest", strongest)
    return marked.where("digest = '' OR _strength = _strongest").drop("_strength", "_strongest")


def hash_samples(
    batches: Iterable[pa.RecordBatch], source: Source, shares: tuple[float, float]
) -> Iterator[pa.RecordBatch]:
    """Read every sample once: digest, size, split and key. Runs on a worker."""
    for batch in batches:
        for part in pa.Table.from_batches([batch]).to_batches(max_chunksize=_BATCH):
            rows = [_hashed(row, source, shares) for row in part.to_pylist()]
            yield pa.RecordBatch.from_pylist(rows, _ARROW)


def _hashed(row: dict[str, Any], source: Source, shares: tuple[float, float]) -> dict[str, object]:
    path, name = str(row["path"]), str(row["name"])
    digest, size, error = "", 0, None
    try:
        content = as_bytes(payload_of(row, source))
        digest, size = hashlib.blake2b(content, digest_size=16).hexdigest(), len(content)
    except OSError as problem:
        error = problem.strerror or str(problem)
    split = row["split"] or "train"
    if split == "train":
        split = carve(digest or name, *shares)
    key = hashlib.blake2b(f"{digest}\0{name}".encode(), digest_size=16).hexdigest()
    found = {"digest": digest, "size": size, "error": error, "key": key, "weight": row.get("weight")}
    return {"path": path, "name": name, "class_name": row["class_name"], "split": split, **found}


def payload_of(row: Mapping[str, Any], source: Source) -> bytes | np.ndarray:
    """A sample's encoded bytes or pixels: from the row itself where it holds them, else from the source.

    Raises:
        OSError: It cannot be read.
    """
    if "content" not in row:
        return source.read(row["path"])
    if row["content"] is None:
        raise OSError("the image column is null")
    return bytes(row["content"])


def as_bytes(payload: bytes | np.ndarray) -> bytes:
    """What is hashed of a payload."""
    if isinstance(payload, bytes):
        return payload
    kind = "" if payload.dtype == np.uint8 else payload.dtype.name
    return f"{payload.shape!r}{kind}".encode() + payload.tobytes()


def summarise(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Count a partition's samples and add up a hash of each: the sum is the same for any order and partitioning."""
    counts, total = Counter[tuple[str, str]](), 0
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in ("digest", "name", "class_name", "split", "weight"))
        for *row, weight in zip(*columns, strict=True):
            content = "\0".join(row if weight is None else [*row, repr(weight)]).encode()
            total += int.from_bytes(hashlib.sha256(content).digest(), "big")
            counts[row[3], row[2]] += 1
    summary = {"total": total, "counts": [[split, name, count] for (split, name), count in counts.items()]}
    yield pa.RecordBatch.from_pydict({"summary": [json.dumps(summary)]})
