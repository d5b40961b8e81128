"""The previous version -> the champion again: ``python jobs/rollback.py --model digits --config ...``."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from convoy.cli import run_job, take_argument
from convoy.config import Config
from convoy.console import say
from convoy.errors import ConfigError
from convoy.tracking import promotion, store


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status."""
    model, others = take_argument("--model", argv)

    def run(config: Config) -> dict[str, Any]:
        if not model:
            raise ConfigError("--model is missing; expected the name of a registered model, e.g. --model digits")
        store.connect(config.tracking.uri, config.tracking.registry_uri)
        in_use = promotion.rollback(model)
        before = f" (previous: {in_use.previous})" if in_use.previous else ""
        say(f"rollback: champion of {in_use.model} is version {in_use.champion}{before}")
        return asdict(in_use)

    about = "The previous version -> the champion again: --model digits. Of the fields `tracking` counts."
    return run_job("rollback", run, about, others)


if __name__ == "__main__":
    sys.exit(main())
