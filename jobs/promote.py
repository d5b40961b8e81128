"""Set the champion alias to a version of a registered model.

Usage: ``python jobs/promote.py --model models:/digits/3 --config ...``
"""

import sys
from collections.abc import Sequence

from convoy.cli.job import run_job, take_argument
from convoy.config import Config
from convoy.workflows.results import PromotionResult


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command and return the exit status."""
    model, others = take_argument("--model", argv)

    def run(config: Config) -> PromotionResult:
        from convoy.workflows.promote import promote

        return promote(config, model)

    about = "Set the alias champion to a version of a registered model, e.g. --model models:/digits/3."
    return run_job("promote", run, about, others)


if __name__ == "__main__":
    sys.exit(main())
