"""Set the aliases of a registered model by hand: promote a version, or roll back to the one before."""

from dataclasses import asdict

from convoy.config import Config
from convoy.console import say
from convoy.errors import ConfigError
from convoy.tracking import connection, promotion
from convoy.workflows.results import PromotionResult


def promote(config: Config, model: str | None) -> PromotionResult:
    """Set the alias ``champion`` to a version; the champion so far gets the alias ``previous``.

    Args:
        config: Section ``tracking``.
        model: A registered version, e.g. ``models:/digits/3``.

    Raises:
        ConfigError: ``model`` is missing.
        TrackingError: There is no such version.
    """
    if not model:
        raise ConfigError("--model is missing; expected a version of a registered model, e.g. --model models:/digits/3")
    connection.connect(config.tracking.uri, config.tracking.registry_uri)
    return _reported("promote", promotion.promote(model))


def rollback(config: Config, model: str | None) -> PromotionResult:
    """Swap the aliases ``champion`` and ``previous``.

    Args:
        config: Section ``tracking``.
        model: Name of the registered model, e.g. ``digits``.

    Raises:
        ConfigError: ``model`` is missing.
        TrackingError: There is no such model, or it has no previous version.
    """
    if not model:
        raise ConfigError("--model is missing; expected the name of a registered model, e.g. --model digits")
    connection.connect(config.tracking.uri, config.tracking.registry_uri)
    return _reported("rollback", promotion.rollback(model))


def _reported(job: str, in_use: promotion.AliasState) -> PromotionResult:
    before = f" (previous: {in_use.previous})" if in_use.previous else ""
    say(f"{job}: champion of {in_use.model} is version {in_use.champion}{before}")
    return PromotionResult(**asdict(in_use))
