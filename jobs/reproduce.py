"""Train a run again from its own record and compare: ``python jobs/reproduce.py RUN --config conf/digits.yaml``."""

import sys
from collections.abc import Sequence
from typing import Any

from convoy.cli.subcommands import run_command


def reproduce(
    run: str,
    config: str | None = None,
    uri: str | None = None,
    root: str | None = None,
    master: str | None = None,
    strict: bool = False,
) -> dict[str, Any]:
    """Train a run again from its own record; exit status 0 if the weights are bitwise identical, else 1.

    Args:
        run: Id of the run, the beginning of it, or its name.
        config: File whose tracking.uri is used; everything else comes from the run.
        uri: Tracking URI; default is the file's, or sqlite:///mlflow.db.
        root: Folder that holds the datasets; default is the run's dataset.root.
        master: Spark's master URL; default is the run's spark.master.
        strict: Exit with status 2 if code, Python or packages differ from those of the run.
    """
    from convoy.workflows import reproduce as workflow

    return workflow.reproduce(run, config, uri, workflow.Overrides(root, master), strict).to_json()


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command and return the exit status: 1 if the weights are not identical, else as for every job."""
    return run_command("reproduce", reproduce, lambda result: not result["identical"], argv)


if __name__ == "__main__":
    sys.exit(main())
