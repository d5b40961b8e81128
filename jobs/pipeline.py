"""Ingest, train, evaluate and score in one process: ``python jobs/pipeline.py --config conf/digits.yaml``."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Literal

from convoy.cli.job import print_result, run_job
from convoy.config import Config
from convoy.workflows.results import Result


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What this job alone takes."""

    first: Literal["ingest", "train", "evaluate", "score"] = "ingest"
    """The stage to begin with; `--from STAGE` is the same."""
    last: Literal["ingest", "train", "evaluate", "score"] = "score"
    """The stage to end with; `--until STAGE` is the same."""


def run(config: Config, arguments: Arguments) -> None:
    """Run the stages; print one JSON line for each."""
    from convoy.workflows.pipeline import pipeline

    def show(stage: str, result: Result, skipped: bool) -> None:
        print_result(stage, {**result.to_json(), **({"skipped": True} if skipped else {})})

    pipeline(config, first=arguments.first, last=arguments.last, on_result=show)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command and return the exit status."""
    about = "Ingest, train, evaluate and score in one process; stages that are already done are skipped."
    return run_job("pipeline", run, about, argv, Arguments)


if __name__ == "__main__":
    sys.exit(main())
