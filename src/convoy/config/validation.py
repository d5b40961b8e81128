"""Validation of the values of a section."""

from typing import Any

from convoy.errors import ConfigError


def require(condition: bool, name: str, given: object, expected: str) -> None:
    """Raise ``ConfigError`` with the field's name, its value and the expected value, unless the condition holds."""
    if not condition:
        raise ConfigError(f"{name} is {given!r}; expected {expected}")


def settle(section: Any, name: str, value: object) -> None:
    """Set a field of a frozen section to its settled value, in ``__post_init__``."""
    object.__setattr__(section, name, value)
