"""Section ``tune.space`` -> parameters; what is wrong with it shows before anything starts."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from types import UnionType
from typing import Any, Union, get_args, get_origin

from convoy.cli import changed
from convoy.config import Config, TuneConfig
from convoy.errors import ConfigError, did_you_mean
from convoy.parser_errors import in_words, type_of

_SECTIONS = ("model.", "training.")
SAME_FOR_ALL = (  # how a training runs, and not what comes of it
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
_EXAMPLE = "'tune: {space: {training.optimizer.learning_rate: {low: 1e-4, high: 1e-1, log: true}}}'"
_ROUNDING = 1e-9  # of a step


@dataclass(frozen=True)
class Parameter:
    """A field that trials give different values.

    Attributes:
        name: As on the command line.
        choices: The values; empty for a range.
        low: The lowest value of a range.
        high: The highest.
        log: Whether to draw from the range evenly in the logarithm.
        step: Between two values; None where all between low and high can be tried.
        whole: Whether the values are whole numbers.
        when: Another parameter -> the values of it with which this one is tried; elsewhere the file's value holds.
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
        """Whether it is tried beside these values of the parameters before it."""
        return all(name in values and values[name] in allowed for name, allowed in self.when.items())

    @property
    def extremes(self) -> tuple[Any, ...]:
        """All choices, or both ends of the range."""
        return self.choices or (self.low, self.high)

    @property
    def grid(self) -> tuple[Any, ...] | None:
        """All values, or None where there is no end of them."""
        if self.choices:
            return self.choices
        if self.step is None:
            return tuple(range(int(self.low), int(self.high) + 1)) if self.whole and not self.log else None
        count = math.floor((self.high - self.low) / self.step + _ROUNDING) + 1
        values = [self.low + i * self.step for i in range(count)]
        return tuple(int(value) for value in values) if self.whole else tuple(round(value, 12) for value in values)

    def plain(self) -> dict[str, Any]:
        """As JSON takes it: the same for spaces that are the same."""
        limits = {} if self.choices else {"low": self.low, "high": self.high, "log": self.log, "step": self.step}
        given = {"choices": list(self.choices)} if self.choices else limits
        return {**given, **({"when": {name: list(of) for name, of in self.when.items()}} if self.when else {})}


def space_of(config: Config) -> tuple[Parameter, ...]:
    """Return the parameters, each after those that it depends on.

    Every choice, and both ends of every range, is tried on the configuration, alone and with those of each other
    parameter.

    Raises:
        ConfigError: There are none; an unknown field, or one that has to be the same for all trials; an empty range; a
            value that the field does not take; a condition that can never hold; a range without a step for a grid.
    """
    given = config.tune.space
    if not given:
        raise ConfigError(f"tune.space is empty; expected fields and what to try, e.g. {_EXAMPLE}")
    for name in ("resume", "find_learning_rate"):
        if value := getattr(config.training, name):
            raise ConfigError(f"training.{name} is {value!r}; a study takes none: use jobs/train.py")
    parameters = _ordered([_parameter(config, name, entry) for name, entry in given.items()])
    if config.tune.sampler == "grid" and (endless := [one.name for one in parameters if one.grid is None]):
        raise ConfigError(f"tune.space: {endless[0]} has no end of values; a grid needs a step, or choices")
    _try(replace(config, tune=TuneConfig()), parameters)
    return parameters


def extremes(config: Config, parameters: Sequence[Parameter]) -> Iterator[tuple[str, Config]]:
    """Yield the configurations of the space's choices and ends, each with what to call it."""
    for one in parameters:
        for value in one.extremes:
            yield f"tune.space: {one.name} {value}", applied(config, completed(parameters, {one.name: value}) or {})


def applied(config: Config, values: Mapping[str, Any]) -> Config:
    """Return a configuration with these values, of fields that are known and types that fit.

    Raises:
        ConfigError: Two values do not go together.
    """
    result: Config = _replaced(config, in_sections(values))
    return result


def in_sections(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted names as nested sections: ``a.b: 1`` as ``{a: {b: 1}}``."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *sections, last = name.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    return nested


def grid_of(parameters: Sequence[Parameter]) -> Iterator[dict[str, Any]]:
    """Yield every combination; parameters whose condition does not hold are left out of it.

    Args:
        parameters: As ``space_of`` returns them, all with an end of values.
    """

    def rest(values: dict[str, Any], left: Sequence[Parameter]) -> Iterator[dict[str, Any]]:
        if not left:
            yield values
        elif not left[0].active(values):
            yield from rest(values, left[1:])
        else:
            for value in left[0].grid or ():
                yield from rest({**values, left[0].name: value}, left[1:])

    return rest({}, parameters)


def _replaced(section: Any, values: Mapping[str, Any]) -> Any:
    inner = {name: getattr(section, name) for name in values}
    new = {
        name: _replaced(inner[name], value) if is_dataclass(inner[name]) else value for name, value in values.items()
    }
    return replace(section, **new)


def _parameter(config: Config, name: str, entry: Mapping[str, Any]) -> Parameter:
    def require(condition: bool, what: str, expected: str) -> None:
        if not condition:
            raise ConfigError(f"tune.space: {name}{what}; expected {expected}")

    kind = type_of(name, [Config])
    if kind is None or is_dataclass(kind):
        try:
            changed(config, {name: None})  # says that there is no such field, and which is nearest
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
        found = tuple(_as_field(kind, choice) for choice in choices)
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
    require(not log or low > 0, f" has log with low {entry['low']}", "a low above 0: the logarithm has no other")
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
    """The number, also where YAML has read 1e-4 as a text; None where it is none."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        number = float(given)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _as_field(kind: Any, given: Any) -> Any:
    """A choice as the field has it: a number where YAML has read a text, 1.0 for 1 where the field has fractions."""
    kinds = _alternatives(kind)
    if isinstance(given, str) and str not in kinds and (number := _number(given)) is not None:
        if int in kinds and number == int(number):
            return int(number)
        return number if float in kinds else given
    if isinstance(given, int) and not isinstance(given, bool) and float in kinds and int not in kinds:
        return float(given)
    return given


def _ordered(parameters: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """Sort so that each comes after those that it depends on, with the values of ``when`` as those have them."""
    by_name = {one.name: one for one in parameters}
    for one in parameters:
        for other, allowed in one.when.items():
            where = f"tune.space: {one.name} depends on {other}"
            if other not in by_name:
                raise ConfigError(f"{where}, which is not in the space{did_you_mean(other, by_name)}")
            choices = by_name[other].choices
            if not choices:
                raise ConfigError(f"{where}, which is a range; give it choices")
            for value in allowed:
                if _as_field(type_of(other, [Config]), value) not in choices:
                    raise ConfigError(f"{where} being {value!r}; expected of its choices {list(choices)}")
    ordered: dict[str, Parameter] = {}
    while len(ordered) < len(by_name):
        ready = [one for one in parameters if one.name not in ordered and set(one.when) <= set(ordered)]
        if not ready:
            circle = sorted(set(by_name) - set(ordered))
            raise ConfigError(f"tune.space: {' and '.join(circle)} depend on each other")
        for one in ready:
            when = {of: tuple(_as_field(type_of(of, [Config]), v) for v in values) for of, values in one.when.items()}
            ordered[one.name] = replace(one, when=when)
    return tuple(ordered.values())


def _try(config: Config, parameters: Sequence[Parameter]) -> None:
    """Raise ``ConfigError`` for a value that the configuration does not take, alone or beside another."""
    single = [(one.name, value) for one in parameters for value in one.extremes]
    for name, value in single:
        if (values := completed(parameters, {name: value})) is None:
            raise ConfigError(f"tune.space: {name} is never tried: what it depends on is not tried with such values")
        try:
            changed(config, values)
        except ConfigError as error:
            raise ConfigError(f"tune.space: {error}") from None
    for first, second in itertools.combinations(single, 2):
        values = completed(parameters, dict([first, second])) if first[0] != second[0] else None
        try:
            applied(config, values or {})
        except ConfigError as error:
            (one, its), (other, others) = first, second
            raise ConfigError(f"tune.space: {one} {its} beside {other} {others}: {error}") from None


def completed(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a point of the space that has these values; None where there is none.

    Args:
        parameters: As ``space_of`` returns them.
        given: Values of some of them; the others get their first one.
    """
    fixed = dict(given)
    for one in reversed(parameters):
        if one.name in fixed:
            for other, allowed in one.when.items():
                if fixed.setdefault(other, allowed[0]) not in allowed:
                    return None
    values: dict[str, Any] = {}
    for one in parameters:
        if one.active(values):
            values[one.name] = fixed.get(one.name, one.extremes[0])
    return values
