"""Loading of the configuration: a YAML file, then ``--section.field value`` arguments, then the sections' checks."""

import dataclasses
import functools
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentParser, set_parsing_settings

from convoy.config import Config
from convoy.config.locations import local_field
from convoy.config.parser_errors import explained, in_words, unknown_field
from convoy.config.tracking import VARIABLES
from convoy.errors import ConfigError, ConvoyError

_FILE = "--config"
_NEGATIVE = re.compile(r"-\d")
_SHORT = {"--resume": "--training.resume", "--from": "--first", "--until": "--last"}


def parse(name: str, description: str, argv: Sequence[str] | None = None) -> Config:
    """Parse ``--config FILE`` and ``--section.field value`` into a checked configuration.

    Raises:
        ConfigError: A field is unknown (the message names the nearest known one), a type or value is wrong, or a file
            is missing.
        SystemExit: After ``--help`` or ``--print_config``.
    """
    config: Config = parse_all(name, description, argv, (Config,))[0]
    return config


def parse_all(name: str, description: str, argv: Sequence[str] | None, kinds: Sequence[type]) -> list[Any]:
    """Parse as ``parse`` does, and return one object of each of the dataclasses."""
    parser = _parser(name, description, tuple(kinds), _defaults())
    flags = [f"--{name}" for kind in kinds for name, type_ in get_type_hints(kind).items() if type_ is bool]
    arguments = _in_full(sys.argv[1:] if argv is None else argv, flags)

    def read() -> Any:
        _check_files(arguments)
        return parser.parse_args(arguments)

    return _checked(parser, read, kinds)


def load(path: str | Path | Config | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Load a configuration from a YAML file, with the same checks as the command line.

    Args:
        path: The YAML file, e.g. ``conf/digits.yaml``, or a configuration to start from; None uses the defaults of all
            fields.
        overrides: Field name as on the command line -> value, e.g. ``{"training.epochs": 3}``; overrides the file.

    Returns:
        The configuration, frozen.

    Raises:
        ConfigError: The file is missing or is not YAML, a field is unknown (the message names the nearest known one),
            or a value has the wrong type or is out of range.
    """
    config = path if isinstance(path, Config) else parse("load", "", [] if path is None else ["--config", str(path)])
    return with_overrides(config, overrides) if overrides else config


def with_overrides(config: Config, fields: Mapping[str, Any]) -> Config:
    """Return a configuration with some fields changed, with the same checks as the command line.

    Args:
        config: The configuration.
        fields: Name as on the command line, e.g. ``training.epochs`` -> its value, as in a YAML file.

    Raises:
        ConfigError: A field is unknown (the message names the nearest known one), or a type or value is wrong.
    """
    parser = _parser("", "", (Config,), _defaults())
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


def _defaults() -> tuple[str | None, ...]:
    return tuple(map(os.environ.get, VARIABLES))


@functools.lru_cache(maxsize=4)  # an experiment or a study checks many configurations, and building one takes 70 ms
def _parser(name: str, description: str, kinds: tuple[type, ...], defaults: tuple[str | None, ...]) -> ArgumentParser:
    """Return a parser, which has the defaults of its creation; ``defaults`` are those that the environment gives."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog=f"jobs/{name}.py", description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of the experiment; see conf/.")
    for kind in kinds:
        parser.add_class_arguments(kind)
    return parser


def _checked(parser: ArgumentParser, read: Callable[[], Any], kinds: Sequence[type]) -> list[Any]:
    """Create one object of each kind from the parsed values; any error is raised as ``ConfigError``."""
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
    """Expand the arguments that have a short form, flags without a value, and the path of the file."""
    full: list[str] = []
    for i, argument in enumerate(arguments):
        if full and _NEGATIVE.match(argument) and full[-1].startswith("--") and "=" not in full[-1]:
            full[-1] += f"={argument}"  # a value such as -1..1, which argparse would take for an option
            continue
        name, equals, value = argument.partition("=")
        if name == _FILE and equals:
            value = local_field(_FILE, value)
        elif i and arguments[i - 1] == _FILE:
            full.append(local_field(_FILE, argument))
            continue
        full.append(_SHORT.get(name, name) + equals + value)
        if argument in flags and "".join(arguments[i + 1 : i + 2]).lower() not in ("true", "false"):
            full[-1] += "=true"
    return full


def _check_files(arguments: Sequence[str]) -> None:
    """Raise ``ConfigError`` for a ``--config`` file that is not a mapping of sections."""
    sections = {field.name for field in dataclasses.fields(Config)}
    for i, argument in enumerate(arguments):
        name, _, path = argument.partition("=")
        path = path or (arguments[i + 1] if i + 1 < len(arguments) else "")
        if name != _FILE or not path:
            continue
        try:
            text = Path(path).read_text(encoding="utf-8")
            values = yaml.safe_load(text)
        except OSError as error:
            raise ConfigError(f"--config {path} cannot be read: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"--config {path} is not a YAML file: {error}") from None
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
    """Return a message about a name that occurs twice in one mapping, or ``""``: YAML would silently keep the last."""
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
    """Raise ``ConfigError`` for a null in a field that does not accept it (the parser accepts nulls from files)."""
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
