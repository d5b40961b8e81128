"""Images -> the same rows with predictions: ``python jobs/score.py --config conf/digits.yaml``."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from convoy.cli import run_job
from convoy.config import Config
from convoy.console import Progress, say
from convoy.evaluation.scoring import report_scores
from convoy.inference import output
from convoy.inference.gauge import gauge_for
from convoy.inference.inputs import check_input, score_input
from convoy.inference.summary import read_scores
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
    target = output.output_folder(section.output)
    store.connect(config.tracking.uri, config.tracking.registry_uri)
    package = load_package(uri)
    progress = Progress("score", 100, "%")
    with session("score", config.spark) as spark:
        gauge = gauge_for(spark, package)
        scored = score_input(spark, config, package, gauge)
        with stage_progress(spark, lambda fraction: progress.note(f"{fraction:.0%} of the tasks")):
            rows, errors = output.write_parquet(scored, target, section.max_error_fraction)
        progress.close()
        seconds = time.monotonic() - started
        say(f"score: {rows:,} rows, {errors:,} with an error, by {package.uri} -> {section.output}  [{seconds:.1f} s]")
        report = report_scores(read_scores(spark, target), config, package, gauge, seconds)
    return {"model": package.uri, "output": str(target), "seconds": round(seconds, 3), **report}


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status."""
    return run_job("score", run, "Images -> the same rows with predictions.", argv)


if __name__ == "__main__":
    sys.exit(main())
