"""Evaluate a model on a split of the dataset; log metrics and figures to its run.

Usage: ``python jobs/evaluate.py --config conf/digits.yaml``
"""

import sys
from collections.abc import Sequence

from convoy.cli.job import run_job
from convoy.config import Config
from convoy.workflows.results import EvaluationResult


def run(config: Config) -> EvaluationResult:
    """Run the workflow; it is imported here, so that ``--help`` is quick."""
    from convoy.workflows.evaluate import evaluate

    return evaluate(config)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command and return the exit status."""
    return run_job(
        "evaluate", run, "Evaluate a model on a split of the dataset; log metrics and figures to its run.", argv
    )


if __name__ == "__main__":
    sys.exit(main())
