"""A source becomes a published dataset version: scan -> layout -> write -> check -> publish."""

import functools
import hashlib
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from convoy import __version__
from convoy.cluster.session_facts import release, settings
from convoy.cluster.spark import stage_progress
from convoy.config import DatasetConfig
from convoy.console import say
from convoy.dataset.ingest.auto_geometry import propose_image
from convoy.dataset.ingest.checks import check_channels, check_classes, check_reports, check_scan, report_notes
from convoy.dataset.ingest.contradictions import check_contradictions, contradictory
from convoy.dataset.ingest.layout import Layout, lay_out, partition_keys
from convoy.dataset.ingest.preview import draw_pictures
from convoy.dataset.ingest.scan import Scan, scan_source
from convoy.dataset.ingest.splits import SPLITS
from convoy.dataset.ingest.statistics import (
    class_weights,
    image_profile,
    pixel_statistics,
    size_statistics,
    split_entries,
)
from convoy.dataset.ingest.values import chosen_range
from convoy.dataset.ingest.write import CHANGED, REPORT, FileReport, WriteTask, write_files
from convoy.dataset.petastorm.schema import add_petastorm_metadata
from convoy.dataset.sources import Source
from convoy.dataset.sources.paths import UNREADABLE
from convoy.dataset.storage import catalog, raw
from convoy.dataset.storage.durable import disk_errors
from convoy.dataset.storage.filesystem import Location, location
from convoy.dataset.storage.manifest import FORMAT, Manifest
from convoy.dataset.storage.object_catalog import StagedVersion
from convoy.dataset.storage.verify import is_whole
from convoy.errors import ConfigError, ConvoyError, SourceError, did_you_mean
from convoy.images import ArraySpec, Geometry, ValueRange

_TOOLS = ("pyspark", "petastorm", "pyarrow", "numpy", "pillow")
QUARANTINE = "quarantine"
_RECORDS = "spark.sql.execution.arrow.maxRecordsPerBatch"


@dataclass(frozen=True)
class Ingested:
    """Result of an ingest.

    Attributes:
        path: Folder of the version, or its URL.
        manifest: Its manifest.
        existed: True if this version existed already and nothing was written.
    """

    path: Location
    manifest: Manifest
    existed: bool


def ingest(
    spark: SparkSession, source: Source, config: DatasetConfig, on_progress: Callable[[str, float, int], None]
) -> Ingested:
    """Write a source as a new dataset version and publish it atomically.

    Args:
        spark: The session.
        source: Where the images come from, already checked.
        config: Name, geometry, storage and splits.
        on_progress: Called with (phase, fraction done, total samples) from time to time.

    Returns:
        The new version, or the existing one if the same content was ingested with the same settings before.

    Raises:
        SourceError: No images, a class without a readable image, or too many samples that cannot be used.
        DatasetError: The root cannot be written to.
    """
    if (array := source.array_spec()) and config.storage.codec != "raw":
        raise ConfigError(
            f"dataset.storage.codec is {config.storage.codec!r}, but the samples are arrays, {array}; expected raw, the"
            " codec for all but uint8 images with 1 or 3 channels"
        )
    classes = source.classes(spark)
    check_classes(classes)
    if unknown := sorted(config.class_fractions.keys() - set(classes)):
        raise ConfigError(
            f"dataset.class_fractions has {unknown[0]!r}, which is not a class of the source"
            f"{did_you_mean(unknown[0], classes) or '; there are ' + ', '.join(classes[:10])}"
        )
    for line in source.notes(spark):
        say(line)
    with _few_at_a_time(spark, source):
        return _ingest(spark, source, classes, config, on_progress)


@contextmanager
def _few_at_a_time(spark: SparkSession, source: Source) -> Iterator[None]:
    """Send few rows at a time to the workers if the rows hold the images, which may be large."""
    with settings(spark, {_RECORDS: "16"} if "content" in source.listing(spark).columns else {}):
        yield


@contextmanager
def _source_errors() -> Iterator[None]:
    """Turn the error of a Spark job about an image that could not be read, or has changed, into one line."""
    try:
        yield
    except ConvoyError:
        raise
    except Exception as error:
        if (found := re.search(rf"SourceError: ((?:{UNREADABLE}|{CHANGED})[^\n]+)", str(error))) is not None:
            raise SourceError(f"{found[1]}; nothing was published") from None
        raise


def _ingest(
    spark: SparkSession,
    source: Source,
    classes: list[str],
    config: DatasetConfig,
    on_progress: Callable[[str, float, int], None],
) -> Ingested:
    listing_progress = stage_progress(spark, lambda fraction: on_progress("list and hash", fraction, 0))
    with listing_progress, disk_errors(config.root, location(config.root)), _source_errors():
        scan = scan_source(spark, source, config)
    try:
        check_scan(scan, classes)
        if scan.duplicates.across_classes:
            check_contradictions(_with_content(spark, contradictory(scan.samples), source), source)
        array = source.array_spec()
        if array is None and config.image.resize == "auto":
            config, reason = propose_image(_with_content(spark, scan.samples, source), source, config)
            say(f"ingest: images become {config.image.shape} by {config.image.resize}: {reason}")
        geometry = None if array else _geometry(config, scan)
        version = version_id(scan.fingerprint, config, array, geometry)
        if version in catalog.versions(config.root, config.name):
            path = catalog.find(config.root, config.name, version)
            if is_whole(path):
                catalog.set_latest(path)
                manifest = Manifest.load(path)
                check_channels(manifest)
                return Ingested(path, manifest, existed=True)
            say(f"warning: version {version} exists, but is damaged; it is written again")
        spec = array or geometry.spec  # type: ignore[union-attr]
        with catalog.staging(config.root, config.name, version) as staged:
            layouts = _layouts(scan, spec, config.storage.row_group_mb)
            rows_per_group = {split: layout.rows_per_group for split, layout in layouts.items()}
            writer = staged.writer if isinstance(staged, StagedVersion) else ""
            task = WriteTask(
                str(staged), source, geometry, spec, classes, rows_per_group, config.storage, scan.weighted, writer
            )
            progress = stage_progress(spark, lambda fraction: on_progress("decode and write", fraction, scan.total))
            with progress, _source_errors():
                reports = _write(spark, scan.samples, layouts, task)
            bad = check_reports(reports, classes, scan, config.max_bad_fraction)
            notes = report_notes(reports)
            manifest = _manifest(reports, bad, notes, classes, geometry, spec, version, scan, source, config)
            check_channels(manifest)
            with catalog.publishing(staged) as first:
                if not first:
                    path = catalog.find(config.root, config.name, version)
                    return Ingested(path, Manifest.load(path), existed=True)
                for split, entry in manifest.splits.items():
                    row_groups = {file.name: len(file.row_groups) for file in entry.files}
                    add_petastorm_metadata(staged / split, spec, config.storage, row_groups, scan.weighted)
                _write_quarantine(staged, bad)
                draw_pictures(staged, manifest)
                damaged = staged.parent / version
                if isinstance(damaged, Path) and damaged.exists() and not is_whole(damaged):
                    shutil.rmtree(damaged)  # not earlier: if writing fails, the intact part of it remains
                published = catalog.publish(staged, version, manifest.dumps())
            return Ingested(published, manifest, existed=False)
    finally:
        release(scan.samples)


def _geometry(config: DatasetConfig, scan: Scan) -> Geometry:
    image = config.image
    value_range = chosen_range(image.value_range, scan.extremes)
    return Geometry(image.height, image.width, image.channels, image.resize, image.interpolation, value_range)


def settings_of(
    config: DatasetConfig, array: ArraySpec | None = None, geometry: Geometry | None = None
) -> dict[str, Any]:
    """Return the settings that shape a version's content, beside the source's own; of arrays, their shape and type.

    Args:
        config: The settings.
        array: Shape and type of samples that are arrays.
        geometry: Geometry of images, for the range of their values. The default range is left out: images of 8 bits
            keep the versions that they had before there was a choice.
    """
    storage = config.storage
    image = [*config.image.shape, config.image.resize, config.image.interpolation]
    scaled = geometry is not None and geometry.value_range != ValueRange()
    return {
        **({"array": [list(array.shape), array.dtype]} if array else {"image": image}),
        **({"value_range": asdict(geometry.value_range)} if geometry and scaled else {}),
        "codec": [storage.codec, storage.jpeg_quality] if storage.codec == "jpeg" else [storage.codec],
        "row_group_mb": storage.row_group_mb,
        "validation_fraction": config.validation_fraction,
        "test_fraction": config.test_fraction,
        "on_leakage": config.on_leakage,
        **({"class_fractions": config.class_fractions} if config.class_fractions else {}),
    }


def version_id(
    fingerprint: str, config: DatasetConfig, array: ArraySpec | None = None, geometry: Geometry | None = None
) -> str:
    """Return the id of a version, a hash of its content and of the settings that shape it: 12 hex digits."""
    named = {"format": FORMAT, "fingerprint": fingerprint, **settings_of(config, array, geometry)}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:12]


def _layouts(scan: Scan, spec: ArraySpec, row_group_mb: float) -> dict[str, Layout]:
    row_bytes = len(raw.header(spec.shape, spec.dtype)) + spec.nbytes
    rows = Counter[str]()
    for (split, _), count in scan.counts.items():
        rows[split] += count
    sizes = scan.source_bytes
    return {split: lay_out(rows[split], row_bytes, row_group_mb, sizes[split]) for split in SPLITS if rows[split]}


def _with_content(spark: SparkSession, samples: DataFrame, source: Source) -> DataFrame:
    """Add the images if the source's rows hold them; they are not cached with the scan."""
    listing = source.listing(spark)
    if "content" not in listing.columns:
        return samples
    return samples.join(listing.select("name", "content").dropDuplicates(["name"]), "name")


def _write(spark: SparkSession, samples: DataFrame, layouts: dict[str, Layout], task: WriteTask) -> list[FileReport]:
    """Send every sample to the task that writes its file, in the order of the keys (the same shuffle every time)."""
    counts = [layout.files for layout in layouts.values()]
    *before, files = accumulate(counts, initial=0)
    share = F.conv(F.substring("key", 1, 8), 16, 10).cast("long")  # of 2**32
    file = F.shiftrightunsigned(share * _of_split(layouts, counts), 32).cast("int")
    partition = F.element_at(F.array(*map(F.lit, partition_keys(files))), file + _of_split(layouts, before) + 1)
    placed = _with_content(spark, samples.withColumn("file", file), task.source)
    placed = placed.repartition(files, partition).sortWithinPartitions("split", "file", "key").drop("key")
    reports = placed.mapInArrow(functools.partial(write_files, task=task), REPORT).collect()
    return sorted((FileReport(**json.loads(row.report)) for row in reports), key=lambda r: (r.split, r.file))


def _of_split(splits: Iterable[str], values: Iterable[int]) -> Column:
    """Return a column with the value of each row's split."""
    pairs = zip(splits, values, strict=True)
    return F.create_map(*(F.lit(part) for pair in pairs for part in pair))[F.col("split")]


def _manifest(
    reports: list[FileReport],
    bad: list[dict[str, Any]],
    notes: dict[str, int],
    classes: list[str],
    geometry: Geometry | None,
    spec: ArraySpec,
    version: str,
    scan: Scan,
    source: Source,
    config: DatasetConfig,
) -> Manifest:
    splits = split_entries(reports, classes)
    mean, std = pixel_statistics(reports, spec, splits["train"].rows)
    return Manifest(
        name=config.name,
        version=version,
        fingerprint=scan.fingerprint,
        image=geometry,
        codec=config.storage.codec,
        classes=classes,
        pixel_mean=mean,
        pixel_std=std,
        class_weights=class_weights(splits["train"].per_class),
        splits=splits,
        sizes=size_statistics(reports),
        duplicates=scan.duplicates,
        settings=settings_of(config, None if geometry else spec, geometry),
        quarantined=len(bad),
        notes=notes,
        source=source.describe(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tools={"convoy": __version__, **{tool: installed(tool) for tool in _TOOLS}},
        shape=spec.shape,
        dtype=spec.dtype,
        weighted=scan.weighted,
        profile=image_profile(reports),
    )


def _write_quarantine(staged: Location, bad: list[dict[str, Any]]) -> None:
    if not bad:
        return
    (staged / QUARANTINE).mkdir()
    schema = pa.schema([(name, pa.string()) for name in ("path", "reason", "detail")] + [("size", pa.int64())])
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(bad, schema), file)
    (staged / QUARANTINE / "part-00000.parquet").write_bytes(file.getvalue())
