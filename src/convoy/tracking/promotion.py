"""The version of a registered model that is in use: the aliases ``champion`` and ``previous``."""

from dataclasses import dataclass

import mlflow

from convoy.errors import TrackingError
from convoy.models.package import ModelPackage
from convoy.tracking import registry
from convoy.tracking.auth_errors import auth_errors_explained
from convoy.tracking.model_io import load_package

CHAMPION, PREVIOUS = "champion", "previous"
GATE_TAG = "evaluation.gate"
_MOST_TAG = 5_000  # characters that all servers without a short limit accept in a tag


@dataclass(frozen=True)
class AliasState:
    """Versions by alias, after a move.

    Attributes:
        model: Name of the registered model.
        champion: The version in use.
        previous: The version in use before it; None if there was none.
        moved: Whether anything changed.
    """

    model: str
    champion: str
    previous: str | None
    moved: bool


@auth_errors_explained()
def promote(uri: str) -> AliasState:
    """Set the alias ``champion`` to a model version; the current champion becomes ``previous``.

    Args:
        uri: A registered version: ``models:/digits/3``, ``models:/digits/latest``, ``models:/digits@candidate``.

    Raises:
        TrackingError: There is no such version, or the URI names a model that is not a version.
    """
    named = registry.version_of(registry.resolve(uri).uri)
    if named is None:
        raise TrackingError(f"{uri} is not a version of a registered model; expected e.g. models:/digits/3")
    name, version = named
    client, aliases = mlflow.MlflowClient(), registry.aliases_of(name)
    champion = aliases.get(CHAMPION)
    if champion == version:
        return AliasState(name, version, aliases.get(PREVIOUS), False)
    if champion is not None:
        client.set_registered_model_alias(name, PREVIOUS, champion)
    client.set_registered_model_alias(name, CHAMPION, version)
    return AliasState(name, version, champion, True)


@auth_errors_explained()
def rollback(name: str) -> AliasState:
    """Swap the aliases ``champion`` and ``previous``; doing it twice changes nothing.

    Args:
        name: Name of the registered model.

    Raises:
        TrackingError: There is no such model, or it has no previous version.
    """
    aliases = registry.aliases_of(name)
    champion, previous = aliases.get(CHAMPION), aliases.get(PREVIOUS)
    if champion is None or previous is None:
        given = ", ".join(f"{alias} ({version})" for alias, version in aliases.items()) or "none"
        raise TrackingError(
            f"model {name!r} cannot be rolled back: it needs the aliases {CHAMPION} and {PREVIOUS}, and has {given};"
            f" promote a version instead: convoy promote --model models:/{name}/<version>"
        )
    registry.resolve(f"models:/{name}/{previous}")
    client = mlflow.MlflowClient()
    client.set_registered_model_alias(name, CHAMPION, previous)
    client.set_registered_model_alias(name, PREVIOUS, champion)
    return AliasState(name, previous, champion, champion != previous)


def load_champion(uri: str) -> ModelPackage | None:
    """Load the model that another is compared with; return None for an alias ``champion`` that is not set yet.

    Raises:
        TrackingError: There is no such model; the message lists the existing ones.
        ModelError: It is not an image classifier that can be scored.
    """
    named = registry.alias_of(uri)
    if named is not None and named[1] == CHAMPION and CHAMPION not in registry.aliases_of(named[0]):
        return None
    return load_package(uri)


@auth_errors_explained()
def record_gates(uri: str, run_id: str, reasons: str | None) -> AliasState | None:
    """Record the result of the gates in a tag of the run and of the version; promote a version that passed.

    Args:
        uri: The model, resolved.
        run_id: Its run.
        reasons: Why it failed; None if it passed.

    Returns:
        The versions in use; None if the model failed, or is not a registered version.
    """
    client, named = mlflow.MlflowClient(), registry.version_of(uri)
    text = "passed" if reasons is None else f"failed: {reasons}"[:_MOST_TAG]
    client.set_tag(run_id, GATE_TAG, text)
    if named is None:
        return None
    client.set_model_version_tag(*named, GATE_TAG, text)
    return promote(uri) if reasons is None else None
