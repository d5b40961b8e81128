"""What all jobs share: arguments -> configuration -> call -> one JSON line and an exit status."""

import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from jsonargparse import ArgumentParser, set_parsing_settings

from convoy.config import Config
from convoy.console import say
from convoy.errors import ConfigError, ConvoyError, did_you_mean

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before any job's imports reach TensorFlow

Job = Callable[[Config], dict[str, Any]]

_UNKNOWN_ARGUMENT = re.compile(r"unrecognized arguments: --?([\w.]+)")
_UNKNOWN_KEY = re.compile(r"Group '(?P<group>[\w.]+)' does not accept option '(?P<option>[\w.]+)'")
_UNKNOWN_SECTION = re.compile(r"(?:Unrecognized|does not accept|not accept|No action for) .*?'(?P<key>[\w.]+)'")


def run_job(name: str, job: Job, description: str, argv: Sequence[str] | None = None) -> int:
    """Run a job as a command: parse, call, print its result as one JSON line.

    Args:
        name: The job's name, as in ``jobs/<name>.py``.
        job: Takes the configuration, returns the fields of the JSON line.
        description: First line of ``--help``.
        argv: Arguments; ``sys.argv[1:]`` when None.

    Returns:
        The exit status: 0 done, 2 the user can mend it (one line on stderr), 130 interrupted. Anything else
        propagates with its traceback, which makes the interpreter's exit status 1.
    """
    quiet_libraries()
    try:
        config = parse(name, description, argv)
        result = job(config)
    except ConvoyError as error:
        say("error: " + " ".join(str(error).split()))
        return 2
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    print(json.dumps({"job": name, **result}), flush=True)
    return 0


def parse(name: str, description: str, argv: Sequence[str] | None = None) -> Config:
    """Parse ``--config FILE`` and ``--section.field value`` into a checked configuration.

    Raises:
        ConfigError: An unknown field (the nearest known one is named), a wrong type or value, a missing file.
        SystemExit: After ``--help`` or ``--print_config``.
    """
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog=f"jobs/{name}.py", description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of the experiment; see conf/.")
    parser.add_class_arguments(Config)
    fields = [key for key in vars(parser.get_defaults().as_flat()) if key != "config"]
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        namespace = parser.parse_args(arguments)
        values = parser.instantiate(namespace).as_dict()
    except ConvoyError:
        raise
    except Exception as error:
        cause = _root_cause(error)
        if isinstance(cause, ConvoyError):
            raise cause from None
        raise ConfigError(_explain(str(error), fields)) from None
    values.pop("config", None)
    return Config(**values)


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None or error.__context__ is not None:
        following = error.__cause__ or error.__context__
        assert following is not None
        error = following
        if isinstance(error, ConvoyError):
            break
    return error


def _explain(message: str, fields: list[str]) -> str:
    """Turn the parser's message into one line that names the nearest known field."""
    unknown = None
    if match := _UNKNOWN_ARGUMENT.search(message):
        unknown = match["unknown"] if "unknown" in match.re.groupindex else match[1]
    elif match := _UNKNOWN_KEY.search(message):
        unknown = f"{match['group']}.{match['option']}"
    elif match := _UNKNOWN_SECTION.search(message):
        unknown = match["key"]
    if unknown is None:
        return message
    hint = did_you_mean(unknown, fields)
    return f"unknown field {unknown!r}{hint or '; --help lists all of them'}"


def quiet_libraries() -> None:
    """Silence start-up chatter that the user can do nothing about, and nothing else."""
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    for noisy in ("mlflow", "alembic", "absl", "tensorflow", "py4j", "horovod"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for module in (r"petastorm(\.|$)", r"pyarrow(\.|$)"):
        warnings.filterwarnings("ignore", category=FutureWarning, module=module)
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=module)
