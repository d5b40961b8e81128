"""Commands that are plain functions: arguments -> call -> one JSON line (or a text) and an exit status."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

import docstring_parser
from jsonargparse import ArgumentError, ArgumentParser

from convoy.console import say
from convoy.errors import ConfigError, ConvoyError
from convoy.quiet_import import quiet_libraries

Command = Callable[..., dict[str, Any] | str]
"""Returns the fields of the JSON line, or a text that is printed in its place."""


def run_command(
    name: str, function: Command, failed: Callable[[dict[str, Any]], bool], argv: Sequence[str] | None
) -> int:
    """Run one function as a command.

    Args:
        name: The job's name, as in ``jobs/<name>.py``.
        function: Its parameters are the arguments, those without a default positional; its docstring is the help.
        failed: Whether a result means exit status 1.
        argv: Arguments; ``sys.argv[1:]`` when None.

    Returns:
        The exit status: 0 done, 1 failed, 2 invalid input (one line on stderr), 130 interrupted.
    """
    parser = _parser(f"jobs/{name}.py", _about(function))
    _add_arguments(parser, function)

    def call() -> tuple[dict[str, Any], dict[str, Any] | str]:
        return {}, function(**parser.parse_args(argv).as_dict())

    return _run(name, call, failed)


def run_commands(
    name: str,
    commands: Mapping[str, Command],
    description: str,
    failed: Callable[[dict[str, Any]], bool] = lambda _: False,
    argv: Sequence[str] | None = None,
) -> int:
    """Run one of several functions, by its name, as a command; see ``run_command``."""
    parser = _parser(f"jobs/{name}.py", description)
    subcommands = parser.add_subcommands(dest="command")
    for command, function in commands.items():
        subparser = _parser(None, _about(function))
        _add_arguments(subparser, function)
        subcommands.add_subcommand(command, subparser, help=_about(function))

    def call() -> tuple[dict[str, Any], dict[str, Any] | str]:
        arguments = parser.parse_args(argv)
        command = arguments.command
        return {"command": command}, commands[command](**arguments[command].as_dict())

    return _run(name, call, failed)


def _run(
    name: str,
    call: Callable[[], tuple[dict[str, Any], dict[str, Any] | str]],
    failed: Callable[[dict[str, Any]], bool],
) -> int:
    quiet_libraries()
    try:
        try:
            fields, result = call()
        except ArgumentError as error:
            raise ConfigError(str(error)) from None
    except ConvoyError as error:
        say("error: " + " ".join(str(error).split()))
        return 2
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    if isinstance(result, str):
        sys.stdout.write(result)
        sys.stdout.flush()
        return 0
    print(json.dumps({"job": name, **fields, **result}), flush=True)
    return 1 if failed(result) else 0


def _parser(prog: str | None, description: str) -> ArgumentParser:
    return ArgumentParser(prog=prog, description=description, exit_on_error=False, allow_abbrev=False)


def _about(function: Command) -> str:
    return (function.__doc__ or "").partition("\n")[0]


def _add_arguments(parser: ArgumentParser, function: Command) -> None:
    """Add a function's parameters: lists become positional ones that can be repeated, booleans flags."""
    hints = get_type_hints(function)
    special = [name for name in hints if hints[name] in (list[str], bool)]
    parser.add_function_arguments(function, as_positional=True, skip=set(special))
    documented = {each.arg_name: each.description for each in docstring_parser.parse(function.__doc__ or "").params}
    for name in special:
        if hints[name] is bool:
            parser.add_argument(f"--{name}", action="store_true", help=documented.get(name))
        else:
            parser.add_argument(name, nargs="+", type=str, help=documented.get(name))
