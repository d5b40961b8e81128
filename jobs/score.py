"""Images -> the same rows with predictions: ``python jobs/score.py --config conf/digits.yaml``."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from convoy.cli import run_job
from convoy.config import Config
from convoy.console import Progress, say
from convoy.evaluation.score_report import report_scores
from convoy.inference.gauge import gauge_for
from convoy.inference.inputs import check_input
from convoy.inference.scoring import check_output, score_to_output
from convoy.spark import session, stage_progress
from convoy.tracking import store
from convoy.tracking.package import load_package
from convoy.tracking.registry import default_uri


def run(config: Config) -> dict[str, Any]:
    """Score; returns the fields of the JSON line."""
    started = time.monotonic()
    section = config.scoring
    uri = default_uri(section.model, config.tracking.registered_model, "scoring.model")
    check_input(config)
    check_output(section)
    store.connect(config.tracking.uri, config.tracking.registry_uri)
    package = load_package(uri)
    progress = Progress("score", 100, "%")
    with session("score", config.spark) as spark:
        gauge = gauge_for(spark, package)
        with stage_progress(spark, lambda fraction: progress.note(f"{fraction:.0%} of the tasks")):
            written = score_to_output(spark, config, package, gauge)
        progress.close()
        seconds = time.monotonic() - started
        rows, errors = written.rows, written.errors
        say(f"score: {rows:,} rows, {errors:,} with an error, by {package.uri} -> {section.output}  [{seconds:.1f} s]")
        report = report_scores(written.added, config, package, gauge, seconds)
    return {"model": package.uri, "output": written.output, "seconds": round(seconds, 3), **report}


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status."""
    return run_job("score", run, "Images -> the same rows with predictions.", argv)


if __name__ == "__main__":
    sys.exit(main())
