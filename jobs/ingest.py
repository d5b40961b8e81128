"""Write images as a versioned Petastorm dataset: ``python jobs/ingest.py --config conf/digits.yaml``."""

import sys
from collections.abc import Sequence

from convoy.cli.job import run_job
from convoy.config import Config
from convoy.workflows.results import IngestResult


def run(config: Config) -> IngestResult:
    """Run the workflow; it is imported here, so that ``--help`` is quick."""
    from convoy.workflows.ingest import ingest

    return ingest(config)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command and return the exit status."""
    return run_job("ingest", run, "Write images as a versioned Petastorm dataset.", argv)


if __name__ == "__main__":
    sys.exit(main())
