"""Search the space of configuration fields for the best values; log a parent run and the best model.

Usage: ``python jobs/tune.py --config conf/tune/digits.yaml``
"""

import sys
from collections.abc import Sequence

from convoy.cli.job import run_job
from convoy.config import Config
from convoy.workflows.results import TuneResult


def run(config: Config) -> TuneResult:
    """Run the workflow; it is imported here, so that ``--help`` is quick."""
    from convoy.workflows.tune import tune

    return tune(config)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command and return the exit status."""
    return run_job(
        "tune",
        run,
        "Search the space of configuration fields for the best values; log a parent run and the best model.",
        argv,
    )


if __name__ == "__main__":
    sys.exit(main())
