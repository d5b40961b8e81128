"""Import a model of another program.

Usage: ``python jobs/import_model.py --model keras_model.h5 --scoring.classes labels.txt --config ...``
"""

import sys
from collections.abc import Sequence

from convoy.cli.job import run_job, take_argument
from convoy.config import Config
from convoy.workflows.results import ImportResult


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command and return the exit status."""
    model, others = take_argument("--model", argv)

    def run(config: Config) -> ImportResult:
        from convoy.workflows.import_model import import_model

        return import_model(config, model)

    about = (
        "Log a Keras model of another program as one that Convoy scores, evaluates and serves, e.g. --model model.h5."
    )
    return run_job("import_model", run, about, others)


if __name__ == "__main__":
    sys.exit(main())
