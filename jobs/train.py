"""Train a network on a dataset; log an MLflow run and register the model.

Usage: ``python jobs/train.py --config conf/digits.yaml``
"""

import sys
from collections.abc import Sequence

from convoy.cli.job import run_job
from convoy.config import Config
from convoy.workflows.results import TrainResult


def run(config: Config) -> TrainResult:
    """Run the workflow; it is imported here, so that ``--help`` is quick."""
    from convoy.workflows.train import train

    return train(config)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command and return the exit status."""
    return run_job("train", run, "Train a network on a dataset; log an MLflow run and register the model.", argv)


if __name__ == "__main__":
    sys.exit(main())
