"""Run a workflow as a command: arguments -> configuration -> call -> one JSON line and an exit status."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convoy.config import Config
from convoy.config.loading import parse_all
from convoy.console import say
from convoy.errors import ConvoyError, GateFailure
from convoy.quiet_import import quiet_libraries
from convoy.workflows.results import Result

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before any job's imports reach TensorFlow

Job = Callable[..., Result | Mapping[str, Any] | None]
"""Takes the configuration, and the job's own arguments if it has any; returns the content of the JSON line."""


def run_job(
    name: str, job: Job, description: str, argv: Sequence[str] | None = None, arguments: type | None = None
) -> int:
    """Run a job as a command: parse, call, print its result as one JSON line.

    Args:
        name: The job's name, as in ``jobs/<name>.py``.
        job: What it does.
        description: First line of ``--help``.
        argv: Arguments; ``sys.argv[1:]`` when None.
        arguments: A dataclass of arguments that this job alone has.

    Returns:
        The exit status: 0 done, 2 invalid input or configuration (one line on stderr), 3 a gate was not passed (one
        line on stderr, and the JSON line), 130 interrupted. Anything else propagates with its traceback, which makes
        the interpreter's exit status 1.
    """
    quiet_libraries()
    status = 0
    result: Result | Mapping[str, Any] | None
    try:
        result = job(*parse_all(name, description, argv, (Config, *filter(None, [arguments]))))
    except ConvoyError as error:
        say("error: " + " ".join(str(error).split()))
        return 2
    except GateFailure as failure:
        say("failed: " + " ".join(str(failure).split()))
        status, result = 3, failure.result
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    if result is not None:
        print_result(name, result.to_json() if isinstance(result, Result) else result)
    return status


def print_result(name: str, fields: Mapping[str, Any]) -> None:
    """Print the JSON line of a job to stdout."""
    print(json.dumps({"job": name, **fields}), flush=True)


def take_argument(flag: str, argv: Sequence[str] | None) -> tuple[str | None, list[str]]:
    """Take a job's own argument out of the others: one that is named like a section of the configuration.

    Args:
        flag: E.g. ``--model``.
        argv: Arguments; ``sys.argv[1:]`` when None.

    Returns:
        (its value, None where it is missing or has none; the other arguments).
    """
    others = list(sys.argv[1:] if argv is None else argv)
    for i, argument in enumerate(others):
        name, equals, value = argument.partition("=")
        if name == flag:
            given = [value] if equals else others[i + 1 : i + 2]
            del others[i : i + (1 if equals else 2)]
            return (given[0] if given else None), others
    return None, others
