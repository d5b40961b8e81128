"""Translation of the parser's messages into terms of the YAML file."""

import dataclasses
import re
from collections.abc import Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from convoy.errors import did_you_mean

_UNKNOWN_ARGUMENT = re.compile(r"unrecognized arguments: --?([\w.]+)")
_UNKNOWN_KEY = re.compile(r"Group '(?P<group>[\w.]+)' does not accept option '(?P<option>[\w.]+)'")
_WRONG_TYPE = re.compile(r'Parser key "(?P<key>[\w.]+)":.*?(Got|Given) value: (?P<value>.*)', re.DOTALL)
_UNKNOWN_SECTION = re.compile(r"Option '(?P<key>[\w.]+)' is not accepted")


def explained(message: str, fields: list[str], kinds: Sequence[type]) -> str:
    """Return the parser's message as one line with the field, and its expected value or the nearest known field."""
    unknown = None
    if match := _UNKNOWN_ARGUMENT.search(message):
        unknown = match[1]
    elif match := _UNKNOWN_KEY.search(message):
        unknown = f"{match['group']}.{match['option']}"
    elif match := _UNKNOWN_SECTION.search(message):
        unknown = match["key"]
    if unknown is not None:
        return unknown_field(unknown, fields)
    if (match := _WRONG_TYPE.search(message)) and (kind := type_of(match["key"], kinds)):
        return f"{match['key']} is {match['value'].strip()!r}; expected {in_words(kind)}"
    return message


def type_of(field: str, kinds: Sequence[type]) -> Any:
    """Return the type of a field, e.g. of ``training.epochs``; None if there is no such field."""
    for kind in kinds:
        inner: Any = kind
        for name in field.split("."):
            inner = get_type_hints(inner).get(name) if dataclasses.is_dataclass(inner) else None
        if inner is not None:
            return inner
    return None


def in_words(kind: Any) -> str:
    """Return a description of a type's values in terms of YAML."""
    plain = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    if kind in plain:
        return plain[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(filter(None, [", ".join(map(str, inner[:-1])), str(inner[-1])]))
    if origin is list:
        return "a list"
    if origin is dict:
        return "names with values"
    if origin in (Union, UnionType):
        return ", or ".join(map(in_words, inner))
    return getattr(kind, "__name__", str(kind))


def unknown_field(field: str, fields: list[str]) -> str:
    """Return a message about an unknown field that names the nearest known one."""
    return f"unknown field {field!r}{did_you_mean(field, fields) or '; --help lists all of them'}"
