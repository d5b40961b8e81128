"""Section ``experiment`` as the configurations of all trainings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from convoy.config import Config, ExperimentConfig
from convoy.config.loading import with_overrides
from convoy.errors import ConfigError

_SECTIONS = ("model", "training")
_SAME_FOR_ALL = ("training.resume", "training.find_learning_rate")


@dataclass(frozen=True)
class Variant:
    """One variant of a comparison.

    Attributes:
        name: Name as in the file.
        changes: Field -> value that differs from the file.
        configs: Configuration of each repetition; they differ only in ``training.seed``.
    """

    name: str
    changes: Mapping[str, Any]
    configs: tuple[Config, ...]


def variants_of(config: Config) -> list[Variant]:
    """Return the variants in the file's order, checked as if each were a separate file.

    No model is registered, since only one of them could be used.

    Raises:
        ConfigError: There are none, one has an unknown or wrong field or one that has to be the same for all, or two
            are the same.
    """
    if not config.experiment.variants:
        raise ConfigError(
            "experiment.variants is empty; expected names and the fields that differ, e.g."
            " 'experiment: {variants: {slow: {training.epochs: 20}, quick: {training.epochs: 2}}}'"
        )
    for field in _SAME_FOR_ALL:
        if value := getattr(config.training, field.removeprefix("training.")):
            raise ConfigError(f"{field} is {value!r}, which an experiment does not support: use jobs/train.py")
    tracking = replace(config.tracking, registered_model=None)
    base = replace(config, tracking=tracking, experiment=ExperimentConfig())
    variants: list[Variant] = []
    for name, changes in config.experiment.variants.items():
        variant = Variant(name, changes, _configs(base, name, changes, config.experiment.repetitions))
        for other in variants:
            if variant.configs[0] == other.configs[0]:
                raise ConfigError(f"experiment.variants: {other.name!r} and {name!r} are the same; leave one out")
        variants.append(variant)
    return variants


def _configs(base: Config, name: str, changes: Mapping[str, Any], repetitions: int) -> tuple[Config, ...]:
    for field in changes:
        section = field.split(".")[0]
        if field in _SAME_FOR_ALL or (hasattr(base, section) and section not in _SECTIONS):
            raise ConfigError(
                f"experiment.variants: {name!r} changes {field}, which is the same for all variants; expected fields of"
                " model and training, so that all see the same data"
            )
    try:
        config = with_overrides(base, changes)
    except ConfigError as error:
        raise ConfigError(f"experiment.variants: {name!r}: {error}") from None
    seeds = range(config.training.seed, config.training.seed + repetitions)
    return tuple(replace(config, training=replace(config.training, seed=seed)) for seed in seeds)
