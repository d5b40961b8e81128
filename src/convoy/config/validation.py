"""How a section checks its values."""

from convoy.errors import ConfigError


def require(condition: bool, name: str, given: object, expected: str) -> None:
    """Raise ``ConfigError`` naming the field, what was given and what was expected, unless the condition holds."""
    if not condition:
        raise ConfigError(f"{name} is {given!r}; expected {expected}")
