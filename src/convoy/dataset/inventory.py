"""What a source holds, before anything is decoded: every sample's class, split, content hash and place in the order."""

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from convoy.dataset.sources import Source
from convoy.dataset.splits import carve, fractions_for

SCHEMA = "path string, name string, class_name string, split string, digest string, size long, error string, key string"
_ARROW = pa.schema(
    [(name, pa.int64() if name == "size" else pa.string()) for name in (part.split()[0] for part in SCHEMA.split(","))]
)
_BATCH = 4096


@dataclass(frozen=True)
class Inventory:
    """The samples of a source.

    Attributes:
        samples: One row per sample, cached: ``SCHEMA``. ``key`` sorts them into a random but fixed order;
            ``error`` is set, and ``digest`` empty, where the bytes could not be read.
        counts: (split, class) -> samples.
        fingerprint: Hex hash of the content: bytes, name, class and split of every sample, in any order.
    """

    samples: DataFrame
    counts: dict[tuple[str, str], int]
    fingerprint: str

    @property
    def total(self) -> int:
        """Number of samples."""
        return sum(self.counts.values())


def take_inventory(spark: SparkSession, source: Source, validation_fraction: float, test_fraction: float) -> Inventory:
    """List the source and hash every sample's bytes, on the workers.

    Args:
        spark: The session.
        source: The source.
        validation_fraction: Share to carve out for validation where the source has no such split.
        test_fraction: Share to carve out for the test where the source has no splits.
    """
    shares = fractions_for(source.splits(), validation_fraction, test_fraction)
    listing = source.listing(spark).repartition(4 * spark.sparkContext.defaultParallelism)
    samples = listing.mapInArrow(functools.partial(hash_samples, source=source, shares=shares), SCHEMA).cache()
    counts, total = Counter[tuple[str, str]](), 0
    for row in samples.mapInArrow(summarise, "summary string").collect():
        summary = json.loads(row.summary)
        total += summary["total"]
        counts.update({(split, name): count for split, name, count in summary["counts"]})
    return Inventory(samples, dict(counts), f"{total % 2**256:064x}")


def hash_samples(
    batches: Iterable[pa.RecordBatch], source: Source, shares: tuple[float, float]
) -> Iterator[pa.RecordBatch]:
    """Read every sample once: digest, size, split and key. Runs on a worker."""
    for batch in batches:
        for part in pa.Table.from_batches([batch]).to_batches(max_chunksize=_BATCH):
            rows = [_hashed(row, source, shares) for row in part.to_pylist()]
            yield pa.RecordBatch.from_pylist(rows, _ARROW)


def _hashed(row: dict[str, str | None], source: Source, shares: tuple[float, float]) -> dict[str, object]:
    path, name = str(row["path"]), str(row["name"])
    digest, size, error = "", 0, None
    try:
        payload = source.read(path)
        content = payload if isinstance(payload, bytes) else repr(payload.shape).encode() + payload.tobytes()
        digest, size = hashlib.blake2b(content, digest_size=16).hexdigest(), len(content)
    except OSError as problem:
        error = problem.strerror or str(problem)
    split = row["split"] or "train"
    if split == "train":
        split = carve(digest or name, *shares)
    key = hashlib.blake2b(f"{digest}\0{name}".encode(errors="surrogateescape"), digest_size=16).hexdigest()
    return {**row, "split": split, "digest": digest, "size": size, "error": error, "key": key}


def summarise(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Count a partition's samples and add up a hash of each: the sum is the same for any order and partitioning."""
    counts, total = Counter[tuple[str, str]](), 0
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in ("digest", "name", "class_name", "split"))
        for row in zip(*columns, strict=True):
            content = "\0".join(row).encode(errors="surrogateescape")
            total += int.from_bytes(hashlib.sha256(content).digest(), "big")
            counts[row[3], row[2]] += 1
    summary = {"total": total, "counts": [[split, name, count] for (split, name), count in counts.items()]}
    yield pa.RecordBatch.from_pydict({"summary": [json.dumps(summary)]})
