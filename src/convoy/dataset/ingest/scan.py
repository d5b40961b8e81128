"""The contents of a source before decoding: each sample's class, split, content hash and place in the order."""

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

from convoy.cluster.session_facts import cached, parallelism, release
from convoy.config import DatasetConfig
from convoy.dataset.ingest.splits import assign_split, fractions_for, kept
from convoy.dataset.sources import Source
from convoy.dataset.storage.manifest import Duplicates
from convoy.errors import SourceError
from convoy.images import extremes

_TEXTS = ("path", "name", "class_name", "split", "digest", "error", "key")
SCHEMA = ", ".join(f"{name} string" for name in _TEXTS) + ", size long, weight float"
SCHEMA += ", value_kind string, low double, high double"
_ARROW = pa.schema(
    [
        *((name, pa.string()) for name in _TEXTS),
        *(("size", pa.int64()), ("weight", pa.float32())),
        *(("value_kind", pa.string()), ("low", pa.float64()), ("high", pa.float64())),
    ]
)
_HASHED = ("split", "digest", "error", "key", "size", "value_kind", "low", "high")
_TALLIED = ("digest", "class_name", "split", "size", "key", "value_kind", "low", "high")
_KEY_BYTES = 16
_BATCH = 4096


@dataclass(frozen=True)
class Scan:
    """The samples of a source.

    Attributes:
        samples: One row per sample, cached: ``SCHEMA``. ``key``, a hash of everything that identifies a sample, sorts
            them into a random but fixed order; ``digest`` is empty where there are no bytes, and ``error`` is set where
            they could not be read. ``value_kind``, ``low`` and ``high`` are what ``images.extremes`` returns.
        counts: (split, class) -> samples.
        source_bytes: Split -> size of its samples in the source.
        fingerprint: Hex hash of the content: the sum of the samples' keys, which is the same in any order.
        duplicates: How often the same bytes occur in the source more than once.
        weighted: Whether the source gives weights; if not, the column is null.
        extremes: ``integers`` | ``floats`` -> (smallest value, largest value, images), of the images with more than 8
            bits that do not state the range of their values.
        given: The splits that the source gives; the others are drawn.
    """

    samples: DataFrame
    counts: dict[tuple[str, str], int]
    source_bytes: dict[str, int]
    fingerprint: str
    duplicates: Duplicates
    weighted: bool
    extremes: dict[str, tuple[float, float, int]]
    given: frozenset[str] = frozenset()

    @property
    def total(self) -> int:
        """Return the number of samples."""
        return sum(self.counts.values())


def scan_source(spark: SparkSession, source: Source, config: DatasetConfig) -> Scan:
    """List the source and hash every sample's bytes, on the workers.

    Args:
        spark: The session.
        source: The source.
        config: Shares of the splits that the source does not provide, and the policy for leakage.

    Raises:
        SourceError: There is leakage and ``dataset.on_leakage`` is ``fail``.
    """
    given = frozenset(source.splits(spark))
    shares = fractions_for(given, config.validation_fraction, config.test_fraction)
    listing = source.listing(spark)
    if "content" not in listing.columns:  # a listing of names alone is cheap to repartition
        listing = listing.repartition(4 * parallelism(spark), "name")
    survey = config.image.value_range == "auto" and source.array_spec() is None
    hashing = functools.partial(
        hash_samples, source=source, shares=shares, class_fractions=config.class_fractions, survey=survey
    )
    samples = cached(listing.mapInArrow(hashing, SCHEMA))
    tally = _tally(samples)
    duplicates = tally.duplicates
    if duplicates.across_splits and config.on_leakage == "fail":
        raise SourceError(
            f"{duplicates.across_splits:,} images occur in more than one split, e.g. {_example_of_leakage(samples)};"
            " remove the copies, or set dataset.on_leakage to report or drop"
        )
    if duplicates.across_splits and config.on_leakage == "drop":
        distinct = cached(_without_leakage(samples))
        tally = _tally(distinct)
        release(samples)
        samples = distinct
    fingerprint = f"{tally.total % 256**_KEY_BYTES:032x}"
    weighted = "weight" in listing.columns
    return Scan(samples, tally.counts, tally.source_bytes, fingerprint, duplicates, weighted, tally.extremes, given)


@dataclass(frozen=True)
class _Tally:
    """Totals over all samples: counts, sizes and extremes as in ``Scan``, the sum of their keys, copies."""

    counts: dict[tuple[str, str], int]
    source_bytes: dict[str, int]
    total: int
    duplicates: Duplicates
    extremes: dict[str, tuple[float, float, int]]


def _tally(samples: DataFrame) -> _Tally:
    """Compute the totals in one Spark job, which brings the copies of an image to one partition, side by side."""
    by_image = samples.select(*_TALLIED).repartition("digest").sortWithinPartitions("digest")
    counts, sizes, total, copies = Counter[tuple[str, str]](), Counter[str](), 0, np.zeros(3, np.int64)
    extremes: dict[str, tuple[float, float, int]] = {}
    for row in by_image.mapInArrow(tally_samples, "tally string").collect():
        tally = json.loads(row.tally)
        total += tally["total"]
        copies += tally["duplicates"]
        counts.update({(split, name): count for split, name, count in tally["counts"]})
        sizes.update(tally["sizes"])
        for kind, found in tally["extremes"].items():
            extremes[kind] = _wider(extremes.get(kind), *found)
    return _Tally(dict(counts), dict(sizes), total, Duplicates(*copies.tolist()), extremes)


def _wider(known: tuple[float, float, int] | None, low: float, high: float, count: int) -> tuple[float, float, int]:
    """Return extremes that include those already known."""
    return (low, high, count) if known is None else (min(known[0], low), max(known[1], high), known[2] + count)


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
    """Keep, of images that occur in several splits, those of the test split, or else of validation."""
    strength = F.when(F.col("split") == "test", 2).when(F.col("split") == "validation", 1).otherwise(0)
    strongest = F.max(strength).over(Window.partitionBy("digest"))
    marked = samples.withColumn("_strength", strength).withColumn("_strongest", strongest)
    return marked.where("digest = '' OR _strength = _strongest").drop("_strength", "_strongest")


def hash_samples(
    batches: Iterable[pa.RecordBatch],
    source: Source,
    shares: tuple[float, float],
    class_fractions: Mapping[str, float] | None = None,
    survey: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Read every sample once to get its digest, size, split, key and extremes. Runs on a worker.

    Args:
        batches: Batches of the source's listing.
        source: The source.
        shares: Shares of validation and test, for ``assign_split``.
        class_fractions: Class -> share of its training samples that are kept.
        survey: Whether to find the extremes of images with more than 8 bits, which are decoded for it.
    """
    for batch in batches:
        for start in range(0, batch.num_rows, _BATCH):
            part = batch.slice(start, _BATCH)
            hashed = zip(*(_hashed(row, source, shares, survey) for row in part.to_pylist()), strict=True)
            columns = {name: part.column(name) for name in part.schema.names if name in _ARROW.names}
            columns |= {
                name: pa.array(values, _ARROW.field(name).type) for name, values in zip(_HASHED, hashed, strict=True)
            }
            columns.setdefault("weight", pa.nulls(part.num_rows, pa.float32()))
            found = pa.RecordBatch.from_arrays([columns[name] for name in _ARROW.names], schema=_ARROW)
            yield _thinned(found, class_fractions) if class_fractions else found


def _thinned(samples: pa.RecordBatch, class_fractions: Mapping[str, float]) -> pa.RecordBatch:
    rows = zip(*(samples.column(name).to_pylist() for name in ("split", "class_name", "digest", "name")), strict=True)
    chosen = [
        split != "train" or kept(digest or name, class_fractions.get(class_name, 1.0))
        for split, class_name, digest, name in rows
    ]
    return samples.filter(pa.array(chosen, pa.bool_()))


def _hashed(row: dict[str, Any], source: Source, shares: tuple[float, float], survey: bool) -> tuple[Any, ...]:
    """Return the columns ``_HASHED`` of a row of the listing."""
    name = row["name"]
    digest, size, error = "", 0, None
    found: tuple[str, float, float] | None = None
    try:
        payload = payload_of(row, source)
        if survey and isinstance(payload, bytes):
            found = extremes(payload)
        content = as_bytes(payload)
        size = len(content)
        digest = hashlib.blake2b(content, digest_size=16).hexdigest() if content else ""  # empty files do not count
    except OSError as problem:
        error = problem.strerror or str(problem)
    split = row["split"] or "train"
    if split == "train":
        split = assign_split(digest or name, *shares)
    everything = f"{digest}\0{name}\0{row['class_name']}\0{split}"
    if row.get("weight") is not None:
        everything += f"\0{row['weight']!r}"
    key = hashlib.blake2b(everything.encode(), digest_size=_KEY_BYTES).hexdigest()
    return split, digest, error, key, size, *(found or (None, None, None))


def payload_of(row: Mapping[str, Any], source: Source) -> bytes | np.ndarray:
    """Return a sample's encoded bytes or pixels: from the row itself if it holds them, else from the source.

    Raises:
        OSError: The sample cannot be read.
    """
    if "content" not in row:
        return source.read(row["path"])
    if row["content"] is None:
        raise OSError("the image column is null")
    return bytes(row["content"])


def as_bytes(payload: bytes | np.ndarray) -> bytes:
    """Return the bytes of a payload that are hashed."""
    if isinstance(payload, bytes):
        return payload
    kind = "" if payload.dtype == np.uint8 else payload.dtype.name
    return f"{payload.shape!r}{kind}".encode() + payload.tobytes()


def tally_samples(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Count a partition's samples and their copies, and add up their keys. Runs on a worker.

    The sums are the same for any order and partitioning, as long as copies of an image follow one another.
    """
    counts, sizes, total = Counter[tuple[str, str]](), Counter[str](), 0
    copies = across_splits = across_classes = 0
    last = first_split = first_class = ""
    extremes_of: dict[str, tuple[float, float, int]] = {}
    other_split = other_class = False  # of the previous images with the same digest
    for batch in batches:
        digests, classes, splits, file_sizes, keys = (batch.column(name).to_pylist() for name in _TALLIED[:5])
        if batch.column("low").null_count < batch.num_rows:
            rows = zip(*(batch.column(name).to_pylist() for name in ("value_kind", "low", "high")), strict=True)
            for kind, low, high in rows:
                if kind is not None:
                    extremes_of[kind] = _wider(extremes_of.get(kind), low, high, 1)
        total += _sum_of_keys(keys)
        counts.update(zip(splits, classes, strict=True))
        for digest, class_name, split, size in zip(digests, classes, splits, file_sizes, strict=True):
            sizes[split] += size
            if digest != last or not digest:
                last, first_split, first_class, other_split, other_class = digest, split, class_name, False, False
                continue
            copies += 1
            if split != first_split and not other_split:
                across_splits, other_split = across_splits + 1, True
            if class_name != first_class and not other_class:
                across_classes, other_class = across_classes + 1, True
    found = [[split, name, count] for (split, name), count in counts.items()]
    duplicates = [copies, across_splits, across_classes]
    tally = {"total": total, "counts": found, "sizes": sizes, "duplicates": duplicates, "extremes": extremes_of}
    yield pa.RecordBatch.from_pydict({"tally": [json.dumps(tally)]})


def _sum_of_keys(keys: list[str]) -> int:
    words = np.frombuffer(bytes.fromhex("".join(keys)), ">u4").reshape(-1, _KEY_BYTES // 4).sum(axis=0, dtype=np.uint64)
    return sum(int(word) << 32 * i for i, word in enumerate(reversed(words)))
