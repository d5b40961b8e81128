"""Score images; write the same rows with predictions: ``python jobs/score.py --config conf/digits.yaml``."""

import sys
from collections.abc import Sequence

from convoy.cli.job import run_job
from convoy.config import Config
from convoy.workflows.results import ScoreResult


def run(config: Config) -> ScoreResult:
    """Run the workflow; it is imported here, so that ``--help`` is quick."""
    from convoy.workflows.score import score

    return score(config)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command and return the exit status."""
    return run_job("score", run, "Score images; write the same rows with predictions.", argv)


if __name__ == "__main__":
    sys.exit(main())
