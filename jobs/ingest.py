"""Images -> a versioned Petastorm dataset: ``python jobs/ingest.py --config conf/digits.yaml``."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from convoy.cli import run_job
from convoy.config import Config
from convoy.console import Progress, say
from convoy.dataset.ingest import ingest
from convoy.dataset.sources import source_of
from convoy.spark import session


def run(config: Config) -> dict[str, Any]:
    """Ingest the source; returns the fields of the JSON line."""
    source = source_of(config.source)
    started = time.monotonic()
    progress = Progress("ingest", 1)

    def show(phase: str, fraction: float, total: int) -> None:
        progress.total = total
        if total:
            progress.update(round(fraction * total), phase)
        else:
            progress.note(f"{phase} {fraction:.0%}")

    with session("ingest", config.spark) as spark:
        result = ingest(spark, source, config.dataset, show)
    progress.close()
    seconds = time.monotonic() - started
    manifest, rows = result.manifest, result.manifest.rows()
    total = sum(rows.values())
    say(
        f"ingest: {'already there: ' if result.existed else ''}{config.dataset.name} {manifest.version},"
        f" {len(manifest.classes)} classes, "
        + ", ".join(f"{count:,} {split}" for split, count in rows.items())
        + (f", {manifest.quarantined:,} quarantined (see {result.path}/quarantine)" if manifest.quarantined else "")
        + f"  [{seconds:.1f} s]"
    )
    return {
        "dataset": config.dataset.name,
        "version": manifest.version,
        "path": str(result.path),
        "rows": rows,
        "quarantined": manifest.quarantined,
        "existed": result.existed,
        "seconds": round(seconds, 3),
        "images_per_second": round(total / seconds, 1),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status."""
    return run_job("ingest", run, "Images -> a versioned Petastorm dataset.", argv)


if __name__ == "__main__":
    sys.exit(main())
