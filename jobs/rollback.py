"""Set the champion alias back to the previous version: ``python jobs/rollback.py --model digits --config ...``."""

import sys
from collections.abc import Sequence

from convoy.cli.job import run_job, take_argument
from convoy.config import Config
from convoy.workflows.results import PromotionResult


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command and return the exit status."""
    model, others = take_argument("--model", argv)

    def run(config: Config) -> PromotionResult:
        from convoy.workflows.promote import rollback

        return rollback(config, model)

    about = "Set the champion alias back to the previous version: --model digits. Only the section `tracking` is used."
    return run_job("rollback", run, about, others)


if __name__ == "__main__":
    sys.exit(main())
