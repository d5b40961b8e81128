"""Write images as a new version of a Petastorm dataset."""

import time

from pyspark.sql import DataFrame, SparkSession

from convoy.cluster.spark import session
from convoy.config import Config
from convoy.console import Progress, say
from convoy.dataset.ingest.build import ingest as write_version
from convoy.dataset.sources import Source, source_of
from convoy.dataset.sources.dataframe import source_of_frame
from convoy.workflows.results import IngestResult


def ingest(config: Config, spark: SparkSession | None = None, dataframe: DataFrame | None = None) -> IngestResult:
    """Write the source as a new version of the dataset; publish it whole, or not at all.

    The id of a version derives from its content. If that version exists already, nothing is written.

    Args:
        config: Sections ``source``, ``dataset`` and ``spark``.
        spark: The session; by default the active one, or a new one that is stopped at the end.
        dataframe: Rows to write instead of the source: a row per image, with the columns that ``source.columns`` names,
            as in a table. They are computed several times; cache them if that is slow, or if they differ each time.

    Returns:
        The version, its folder, and the number of samples in each split.

    Raises:
        ConvoyError: The source, the configuration or the cluster cannot be used; the message says how to fix it.
    """
    if dataframe is None:
        source: Source = source_of(config.source)
    else:
        source, spark = source_of_frame(dataframe, config.source.columns), spark or dataframe.sparkSession
    started = time.monotonic()

    def show(phase: str, fraction: float, total: int) -> None:
        progress.total = total or 1
        if total:
            progress.update(round(fraction * total), phase)
        else:
            progress.note(f"{phase} {fraction:.0%}", fraction)

    with Progress("ingest", 1) as progress, session("ingest", config.spark, spark) as running:
        written = write_version(running, source, config.dataset, show)
    seconds = time.monotonic() - started
    manifest, rows = written.manifest, written.manifest.rows()
    result = IngestResult(
        dataset=config.dataset.name,
        version=manifest.version,
        path=str(written.path),
        rows=rows,
        quarantined=manifest.quarantined,
        existed=written.existed,
        seconds=round(seconds, 3),
        images_per_second=round(sum(rows.values()) / seconds, 1),
    )
    say(
        f"ingest: {'already there: ' if written.existed else ''}{result.dataset} {result.version},"
        f" {len(manifest.classes)} classes, "
        + ", ".join(f"{count:,} {split}" for split, count in rows.items())
        + (f", {result.quarantined:,} quarantined (see {result.path}/quarantine)" if result.quarantined else "")
        + f"  [{seconds:.1f} s]"
    )
    return result
