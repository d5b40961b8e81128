"""Versions of datasets: ``python jobs/datasets.py list|show|diff|verify``; ``--help`` after one tells its arguments."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from convoy.cli import quiet_libraries
from convoy.console import say
from convoy.dataset import commands
from convoy.errors import ConfigError, ConvoyError

COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "list": commands.list_versions,
    "show": commands.show_version,
    "diff": commands.diff_versions,
    "verify": commands.verify_versions,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status: 1 where ``verify`` has found problems, else as for every job."""
    quiet_libraries()
    parser = ArgumentParser(
        prog="jobs/datasets.py", description="Versions of datasets.", exit_on_error=False, allow_abbrev=False
    )
    subcommands = parser.add_subcommands(dest="command")
    for name, function in COMMANDS.items():
        subparser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
        subparser.add_function_arguments(function, as_positional=True)
        subcommands.add_subcommand(name, subparser, help=(function.__doc__ or "").partition("\n")[0])
    try:
        try:
            arguments = parser.parse_args(argv)
        except ArgumentError as error:
            raise ConfigError(str(error)) from None
        result = COMMANDS[arguments.command](**arguments[arguments.command].as_dict())
    except ConvoyError as error:
        say("error: " + " ".join(str(error).split()))
        return 2
    print(json.dumps({"job": "datasets", "command": arguments.command, **result}), flush=True)
    return 1 if result.get("problems") else 0


if __name__ == "__main__":
    sys.exit(main())
