"""Runs of a tracking store: ``python jobs/runs.py list|show|diff|compare|best``; ``--help`` after one tells more."""

import sys
from collections.abc import Sequence

from convoy.cli.subcommands import Command, run_commands
from convoy.runs import commands

COMMANDS: dict[str, Command] = {
    "list": commands.list_runs,
    "show": commands.show_run,
    "diff": commands.diff_runs,
    "compare": commands.compare_runs,
    "best": commands.best_run,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status."""
    return run_commands("runs", COMMANDS, "Runs of a tracking store.", argv=argv)


if __name__ == "__main__":
    sys.exit(main())
