"""Section ``tune.space`` as parameters, with all checks before anything starts."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass, replace
from typing import Any

from convoy.config import Config, TuneConfig
from convoy.config.loading import with_overrides
from convoy.config.parser_errors import type_of
from convoy.errors import ConfigError, did_you_mean
from convoy.tuning.parameter import Parameter, as_field, parameter_of

_EXAMPLE = "'tune: {space: {training.optimizer.learning_rate: {low: 1e-4, high: 1e-1, log: true}}}'"


def space_of(config: Config) -> tuple[Parameter, ...]:
    """Return the parameters, each after those that it depends on.

    Every choice, and both ends of every range, is checked on the configuration, alone and with those of each other
    parameter.

    Raises:
        ConfigError: There are none; an unknown field, or one that has to be the same for all trials; an empty range; a
            value that the field does not accept; a condition that is never met; a range without a step for a grid.
    """
    given = config.tune.space
    if not given:
        raise ConfigError(f"tune.space is empty; expected fields and their values, e.g. {_EXAMPLE}")
    for name in ("resume", "find_learning_rate"):
        if value := getattr(config.training, name):
            raise ConfigError(f"training.{name} is {value!r}, which a study does not support: use jobs/train.py")
    parameters = _ordered([parameter_of(config, name, entry) for name, entry in given.items()])
    if config.tune.sampler == "grid" and (endless := [one.name for one in parameters if one.grid is None]):
        raise ConfigError(f"tune.space: {endless[0]} has infinitely many values; a grid needs a step, or choices")
    _try(replace(config, tune=TuneConfig()), parameters)
    return parameters


def extremes(config: Config, parameters: Sequence[Parameter]) -> Iterator[tuple[str, Config]]:
    """Yield the configurations of the space's choices and ends, each with its label."""
    for one in parameters:
        for value in one.extremes:
            yield f"tune.space: {one.name} {value}", applied(config, completed(parameters, {one.name: value}) or {})


def applied(config: Config, values: Mapping[str, Any]) -> Config:
    """Return a configuration with these values, for known fields and matching types.

    Raises:
        ConfigError: Two values contradict each other.
    """
    result: Config = _replaced(config, in_sections(values))
    return result


def in_sections(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values by dotted names to nested sections: ``a.b: 1`` to ``{a: {b: 1}}``."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *sections, last = name.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    return nested


def grid_of(parameters: Sequence[Parameter]) -> Iterator[dict[str, Any]]:
    """Yield every combination; parameters whose condition is not met are left out.

    Args:
        parameters: As ``space_of`` returns them, all with finitely many values.
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


def _ordered(parameters: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """Sort parameters after those that they depend on, and convert the values of ``when`` to their choices."""
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
                if as_field(type_of(other, [Config]), value) not in choices:
                    raise ConfigError(f"{where} being {value!r}; expected one of its choices {list(choices)}")
    ordered: dict[str, Parameter] = {}
    while len(ordered) < len(by_name):
        ready = [one for one in parameters if one.name not in ordered and set(one.when) <= set(ordered)]
        if not ready:
            circle = sorted(set(by_name) - set(ordered))
            raise ConfigError(f"tune.space: {' and '.join(circle)} depend on each other")
        for one in ready:
            when = {of: tuple(as_field(type_of(of, [Config]), v) for v in values) for of, values in one.when.items()}
            ordered[one.name] = replace(one, when=when)
    return tuple(ordered.values())


def _try(config: Config, parameters: Sequence[Parameter]) -> None:
    """Raise ``ConfigError`` for a value that the configuration does not accept, alone or with another."""
    single = [(one.name, value) for one in parameters for value in one.extremes]
    for name, value in single:
        if (values := completed(parameters, {name: value})) is None:
            raise ConfigError(f"tune.space: {name} is never tried: its condition is never met")
        try:
            with_overrides(config, values)
        except ConfigError as error:
            raise ConfigError(f"tune.space: {error}") from None
    for first, second in itertools.combinations(single, 2):
        values = completed(parameters, dict([first, second])) if first[0] != second[0] else None
        try:
            applied(config, values or {})
        except ConfigError as error:
            (one, its), (other, others) = first, second
            raise ConfigError(f"tune.space: {one} {its} with {other} {others}: {error}") from None


def completed(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a point of the space that has these values, or None if there is none.

    Args:
        parameters: As ``space_of`` returns them.
        given: Values of some of them; the others get their first value.
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
