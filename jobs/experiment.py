"""Train variants of a configuration side by side; log a parent run with a chart.

Usage: ``python jobs/experiment.py --config conf/experiments/activations.yaml``
"""

import sys
from collections.abc import Sequence

from convoy.cli.job import run_job
from convoy.config import Config
from convoy.workflows.results import ExperimentResult


def run(config: Config) -> ExperimentResult:
    """Run the workflow; it is imported here, so that ``--help`` is quick."""
    from convoy.workflows.experiment import experiment

    return experiment(config)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command and return the exit status."""
    return run_job(
        "experiment", run, "Train variants of a configuration side by side; log a parent run with a chart.", argv
    )


if __name__ == "__main__":
    sys.exit(main())
