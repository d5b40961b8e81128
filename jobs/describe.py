"""What a network does and costs, before it is trained: ``python jobs/describe.py --config conf/digits.yaml``."""

import sys
from collections.abc import Sequence
from typing import Any

from convoy.cli.job import run_job
from convoy.config import Config
from convoy.config.describe import DescribeArguments
from convoy.console import say
from convoy.models.summary.picture import write_picture
from convoy.models.summary.text import summary_of
from convoy.workflows.describe import build_and_describe


def run(config: Config, arguments: DescribeArguments) -> dict[str, Any]:
    """Describe; returns the fields of the JSON line."""
    model, network = build_and_describe(config, arguments.num_classes, arguments.shape)
    if arguments.picture:
        write_picture(model, arguments.picture)
    if arguments.json:
        return network.as_dict()
    say(*summary_of(network))
    return network.totals()


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status."""
    about = "What a network does and costs, layer by layer; no dataset, Spark or GPU is needed."
    return run_job("describe", run, about, argv, DescribeArguments)


if __name__ == "__main__":
    sys.exit(main())
