"""Versions of datasets: ``python jobs/datasets.py list|show|diff|verify``; ``--help`` after one tells its arguments."""

import sys
from collections.abc import Sequence

from convoy.cli.subcommands import Command, run_commands
from convoy.dataset import commands

COMMANDS: dict[str, Command] = {
    "list": commands.list_versions,
    "show": commands.show_version,
    "diff": commands.diff_versions,
    "verify": commands.verify_versions,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status: 1 where ``verify`` has found problems, else as for every job."""
    about = "Versions of datasets."
    return run_commands("datasets", COMMANDS, about, lambda result: bool(result.get("problems")), argv)


if __name__ == "__main__":
    sys.exit(main())
