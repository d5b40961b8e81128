"""Validation of the values of a section."""

from convoy.errors import ConfigError


def require(condition: bool, name: str, given: object, expected: str) -> None:
    """Raise ``ConfigError`` with the field's name, its value and the expected value, unless the condition holds."""
    if not condition:
        raise ConfigError(f"{name} is {given!r}; expected {expected}")
