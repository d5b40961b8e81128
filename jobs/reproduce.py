"""A run trained again from its own record, and compared: ``python jobs/reproduce.py RUN --config conf/digits.yaml``."""

import importlib
import sys
from collections.abc import Sequence
from typing import Any

from convoy.runs import reproduction
from convoy.subcommands import run_command

_JOBS = __package__ or "convoy.jobs"  # as a script this file is in no package


def reproduce(
    run: str,
    config: str | None = None,
    uri: str | None = None,
    root: str | None = None,
    master: str | None = None,
    strict: bool = False,
) -> dict[str, Any]:
    """Train a run again from its own record; exit status 0 when the weights are the same bit by bit, else 1.

    Args:
        run: Its id, the beginning of it, or its name.
        config: File whose tracking.uri is used; all else comes from the run.
        uri: Tracking store; default is the file's, or sqlite:///mlflow.db.
        root: Folder that holds the datasets; default is the run's dataset.root.
        master: Spark's master URL; default is the run's spark.master.
        strict: Refuse, with status 2, where code, Python or packages are not those of the run.
    """
    train = importlib.import_module(f"{_JOBS}.train").run
    return reproduction.reproduce(train, run, config, uri, reproduction.Elsewhere(root, master), strict)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status: 1 where the weights are not the same, else as for every job."""
    return run_command("reproduce", reproduce, lambda result: not result["identical"], argv)


if __name__ == "__main__":
    sys.exit(main())
