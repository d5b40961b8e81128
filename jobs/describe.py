"""What a network does and costs, before it is trained: ``python jobs/describe.py --config conf/digits.yaml``."""

import sys
from collections.abc import Sequence
from typing import Any

from convoy.cli.job import run_job
from convoy.config import Config
from convoy.config.describe import DescribeArguments
from convoy.console import say
from convoy.dataset.storage import catalog
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ConfigError, DatasetError
from convoy.models.builder import build
from convoy.models.summary.describe import describe
from convoy.models.summary.graph import without_weights
from convoy.models.summary.picture import write_picture
from convoy.models.summary.text import summary_of


def run(config: Config, arguments: DescribeArguments) -> dict[str, Any]:
    """Describe; returns the fields of the JSON line."""
    shape, classes, dtype = arguments.shape or config.dataset.image.shape, arguments.num_classes, "uint8"
    if classes is None:
        try:
            manifest = Manifest.load(catalog.find(config.dataset.root, config.dataset.name, config.dataset.version))
        except DatasetError as error:
            raise ConfigError(
                f"num_classes is missing and no dataset tells it: {error}, or give --num_classes"
            ) from None
        shape, classes, dtype = manifest.shape, len(manifest.classes), manifest.dtype
    statistics = [0.0] * shape[-1], [1.0] * shape[-1]  # no size depends on them
    model = without_weights(lambda: build(config.model, shape, classes, *statistics, dtype))
    network = describe(model, config.training)
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
