"""What all jobs share: arguments -> configuration -> call -> one JSON line and an exit status."""

import dataclasses
import functools
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentParser, set_parsing_settings

from convoy.config import Config
from convoy.console import say
from convoy.errors import ConfigError, ConvoyError, GateFailure
from convoy.parser_errors import explained, in_words, unknown_field

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before any job's imports reach TensorFlow

Job = Callable[..., dict[str, Any]]
"""Takes the configuration, and the job's own arguments where it has any; returns the fields of the JSON line."""

_SHORT = {"--resume": "--training.resume"}


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
        The exit status: 0 done, 2 the user can mend it (one line on stderr), 3 measured and not good enough (one
        line on stderr, and the JSON line), 130 interrupted. Anything else propagates with its traceback, which makes
        the interpreter's exit status 1.
    """
    quiet_libraries()
    status = 0
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
    print(json.dumps({"job": name, **result}), flush=True)
    return status


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


def parse(name: str, description: str, argv: Sequence[str] | None = None) -> Config:
    """Parse ``--config FILE`` and ``--section.field value`` into a checked configuration.

    Raises:
        ConfigError: An unknown field (the nearest known one is named), a wrong type or value, a missing file.
        SystemExit: After ``--help`` or ``--print_config``.
    """
    config: Config = parse_all(name, description, argv, (Config,))[0]
    return config


def parse_all(name: str, description: str, argv: Sequence[str] | None, kinds: Sequence[type]) -> list[Any]:
    """Parse as ``parse`` does, into one object of each of the dataclasses."""
    parser = _parser(name, description, tuple(kinds))
    flags = [f"--{name}" for kind in kinds for name, type_ in get_type_hints(kind).items() if type_ is bool]
    arguments = _in_full(sys.argv[1:] if argv is None else argv, flags)

    def read() -> Any:
        _check_files(arguments)
        return parser.parse_args(arguments)

    return _checked(parser, read, kinds)


def changed(config: Config, fields: Mapping[str, Any]) -> Config:
    """Return a configuration with some fields changed, after the checks that the command line has.

    Args:
        config: The configuration.
        fields: Name as on the command line, e.g. ``training.epochs`` -> its value, as a YAML file has it.

    Raises:
        ConfigError: An unknown field (the nearest known one is named), a wrong type or value.
    """
    parser = _parser("", "", (Config,))
    known = _fields(parser)
    values = dataclasses.asdict(config)
    for name, value in fields.items():
        if name not in known:
            raise ConfigError(unknown_field(name, known))
        *sections, field = name.split(".")
        inner = values
        for section in sections:
            inner = inner[section]
        inner[field] = value
    result: Config = _checked(parser, lambda: parser.parse_object(values), (Config,))[0]
    return result


def _fields(parser: ArgumentParser) -> list[str]:
    return [key for key in vars(parser.get_defaults().as_flat()) if key != "config"]


@functools.lru_cache(maxsize=4)  # an experiment or a study checks many configurations, and building one takes 70 ms
def _parser(name: str, description: str, kinds: tuple[type, ...]) -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog=f"jobs/{name}.py", description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of the experiment; see conf/.")
    for kind in kinds:
        parser.add_class_arguments(kind)
    return parser


def _checked(parser: ArgumentParser, read: Callable[[], Any], kinds: Sequence[type]) -> list[Any]:
    """Make one object of each kind from what was read; what is wrong with it becomes ``ConfigError``."""
    try:
        namespace = read()
        for kind in kinds:
            _check_nulls(kind, namespace, "")
        values = parser.instantiate(namespace).as_dict()
    except ConvoyError:
        raise
    except Exception as error:
        cause = _root_cause(error)
        if isinstance(cause, ConvoyError):
            raise cause from None
        raise ConfigError(explained(str(error), _fields(parser), kinds)) from None
    return [kind(**{field.name: values[field.name] for field in dataclasses.fields(kind)}) for kind in kinds]


def _in_full(arguments: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Spell out the arguments that have a short form, and flags without a value."""
    full = []
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        full.append(_SHORT.get(name, name) + equals + value)
        if argument in flags and "".join(arguments[i + 1 : i + 2]).lower() not in ("true", "false"):
            full[-1] += "=true"
    return full


def _check_files(arguments: Sequence[str]) -> None:
    """Raise ``ConfigError`` for a ``--config`` file that is no mapping of sections."""
    sections = {field.name for field in dataclasses.fields(Config)}
    for i, argument in enumerate(arguments):
        name, _, path = argument.partition("=")
        path = path or (arguments[i + 1] if i + 1 < len(arguments) else "")
        if name != "--config" or not path:
            continue
        try:
            text = Path(path).read_text(encoding="utf-8")
            values = yaml.safe_load(text)
        except OSError as error:
            raise ConfigError(f"--config {path} cannot be read: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"--config {path} is no YAML file: {error}") from None
        if repeated := _repeated(yaml.compose(text, yaml.SafeLoader)):
            raise ConfigError(f"--config {path} has {repeated}; keep one")
        if not isinstance(values, dict):
            raise ConfigError(f"--config {path} holds no sections; expected e.g. 'training: {{epochs: 5}}'")
        for section in sections & values.keys():
            if not isinstance(values[section], dict):
                raise ConfigError(
                    f"section {section} in {path} is {values[section]!r}; expected fields, e.g. '{section}: {{...}}'"
                )


def _repeated(node: yaml.Node | None) -> str:
    """Say which name stands twice in one mapping, if any: YAML would keep the last one without a word."""
    if isinstance(node, yaml.SequenceNode):
        return next(filter(None, map(_repeated, node.value)), "")
    if not isinstance(node, yaml.MappingNode):
        return ""
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in lines:
            return f"{key.value!r} twice in one section, in lines {lines[key.value]} and {line}"
        lines[key.value] = line
        if repeated := _repeated(value):
            return repeated
    return ""


def _check_nulls(section: type, values: Any, prefix: str) -> None:
    """Raise ``ConfigError`` for a null where the field does not take one (the parser lets it through from files)."""
    for name, kind in get_type_hints(section).items():
        value = values[name]
        if dataclasses.is_dataclass(kind):
            _check_nulls(cast(type, kind), value, f"{prefix}{name}.")
        elif value is None and type(None) not in get_args(kind):
            raise ConfigError(f"{prefix}{name} is None; expected {in_words(kind)}")


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None or error.__context__ is not None:
        following = error.__cause__ or error.__context__
        assert following is not None
        error = following
        if isinstance(error, ConvoyError):
            break
    return error


def quiet_libraries() -> None:
    """Silence start-up chatter that the user can do nothing about, and nothing else."""
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    for noisy in ("mlflow", "alembic", "absl", "tensorflow", "py4j", "horovod"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
    for module in (r"petastorm(\.|$)", r"pyarrow(\.|$)"):
        warnings.filterwarnings("ignore", category=FutureWarning, module=module)
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=module)
