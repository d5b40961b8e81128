"""A field that a study varies, and its entry in ``tune.space``."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from convoy.config import Config
from convoy.config.loading import with_overrides
from convoy.config.parser_errors import in_words, type_of
from convoy.errors import ConfigError, did_you_mean

_SECTIONS = ("model.", "training.")
SAME_FOR_ALL = (  # fields that do not change the trained network
    "training.checkpoint.",
    "training.elastic",
    "training.find_learning_rate",
    "training.max_restarts",
    "training.min_workers",
    "training.num_workers",
    "training.resume",
    "training.stall_timeout",
)
_KEYS = ("low", "high", "log", "step", "choices", "when")
_ROUNDING = 1e-9  # relative to a step


@dataclass(frozen=True)
class Parameter:
    """A field with different values in the trials.

    Attributes:
        name: Name as on the command line.
        choices: The values; empty for a range.
        low: The lowest value of a range.
        high: The highest value of a range.
        log: Whether to draw from the range uniformly in the logarithm.
        step: Distance of two values; None if all values between low and high are possible.
        whole: Whether the values are whole numbers.
        when: Another parameter -> its values for which this one is tried; otherwise the file's value is used.
    """

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    whole: bool = False
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def active(self, values: Mapping[str, Any]) -> bool:
        """Return whether it is tried with these values of the parameters before it."""
        return all(name in values and values[name] in allowed for name, allowed in self.when.items())

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Return all choices, or both ends of the range."""
        return self.choices or (self.low, self.high)

    @property
    def grid(self) -> tuple[Any, ...] | None:
        """Return all values, or None if there are infinitely many."""
        if self.choices:
            return self.choices
        if self.step is None:
            return tuple(range(int(self.low), int(self.high) + 1)) if self.whole and not self.log else None
        count = math.floor((self.high - self.low) / self.step + _ROUNDING) + 1
        values = [self.low + i * self.step for i in range(count)]
        return tuple(int(value) for value in values) if self.whole else tuple(round(value, 12) for value in values)

    def plain(self) -> dict[str, Any]:
        """Return values for JSON: equal for equal spaces."""
        limits = {} if self.choices else {"low": self.low, "high": self.high, "log": self.log, "step": self.step}
        given = {"choices": list(self.choices)} if self.choices else limits
        return {**given, **({"when": {name: list(of) for name, of in self.when.items()}} if self.when else {})}


def parameter_of(config: Config, name: str, entry: Mapping[str, Any]) -> Parameter:
    """Parse an entry of the space, ``name: {low: ..., high: ...}`` or ``name: {choices: [...]}``.

    Raises:
        ConfigError: An unknown field, or one that has to be the same for all trials; an empty or missing range.
    """

    def require(condition: bool, what: str, expected: str) -> None:
        if not condition:
            raise ConfigError(f"tune.space: {name}{what}; expected {expected}")

    kind = type_of(name, [Config])
    if kind is None or is_dataclass(kind):
        try:
            with_overrides(config, {name: None})  # raises an error that names the nearest field
        except ConfigError as error:
            raise ConfigError(f"tune.space: {error}") from None
    fixed = not name.startswith(_SECTIONS) or any(name == one or name.startswith(one) for one in SAME_FOR_ALL)
    require(not fixed, " is the same for all trials", "fields of model and training that change what is trained")
    require(isinstance(entry, Mapping), f" is {entry!r}", "low and high, or choices")
    for key in entry:
        require(key in _KEYS, f" has {key!r}{did_you_mean(str(key), _KEYS)}", f"of {', '.join(_KEYS)}")
    when = entry.get("when") or {}
    require(isinstance(when, Mapping), f" has when {when!r}", "e.g. {training.optimizer.name: sgd}")
    when = {other: tuple(of) if isinstance(of, list) else (of,) for other, of in when.items()}
    require(all(when.values()), f" has when {entry.get('when')!r}", "a value, or a list of some")
    if "choices" in entry:
        choices = entry["choices"]
        require(set(entry) <= {"choices", "when"}, " has choices and a range", "one of them")
        require(isinstance(choices, list) and len(choices) > 0, f" has choices {choices!r}", "a list of values")
        found = tuple(as_field(kind, choice) for choice in choices)
        again = [choice for i, choice in enumerate(found) if choice in found[:i]]
        require(not again, f" has {again[:1]} twice among its choices", "each of them once")
        return Parameter(name, found, when=when)
    numbers = [one for one in _alternatives(kind) if one in (int, float)]
    require(bool(numbers), " has no choices", f"choices, as the field takes {in_words(kind)}")
    whole = float not in numbers
    limits = {key: _number(entry.get(key)) for key in ("low", "high")}
    for key, value in limits.items():
        require(value is not None, f" has {key} {entry.get(key)!r}", "a number, or choices instead of low and high")
        require(not whole or value == int(value or 0), f" has {key} {entry.get(key)!r}", "a whole number")
    low, high = limits["low"] or 0.0, limits["high"] or 0.0
    log, step = entry.get("log", False), entry.get("step")
    require(low < high, f" has an empty range, from {entry['low']} to {entry['high']}", "a low that is less than high")
    require(isinstance(log, bool), f" has log {log!r}", "true or false")
    require(not log or low > 0, f" has log with low {entry['low']}", "a low above 0, which the logarithm needs")
    if step is not None:
        given, step = step, _number(step)
        fits = step is not None and 0 < step <= high - low and (not whole or step == int(step))
        require(fits, f" has step {given!r}", f"{'a whole number' if whole else 'a number'} up to high - low")
        require(not log, " has log and step", "one of them")
        high = low + math.floor((high - low) / (step or 1.0) + _ROUNDING) * (step or 1.0)
    if whole:
        low, high, step = int(low), int(high), None if step is None else int(step)
    return Parameter(name, low=low, high=high, log=log, step=step, whole=whole, when=when)


def _number(given: Any) -> float | None:
    """Return the number, even if YAML has read 1e-4 as text; None if it is not a number."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        number = float(given)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def as_field(kind: Any, given: Any) -> Any:
    """Convert a choice to the field's type: text of a number to the number, 1 to 1.0 for a float field."""
    kinds = _alternatives(kind)
    if isinstance(given, str) and str not in kinds and (number := _number(given)) is not None:
        if int in kinds and number == int(number):
            return int(number)
        return number if float in kinds else given
    if isinstance(given, int) and not isinstance(given, bool) and float in kinds and int not in kinds:
        return float(given)
    return given
