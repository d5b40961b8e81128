"""Model URIs and the registry."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote

import mlflow
from mlflow.exceptions import MlflowException

from convoy.errors import ConfigError, TrackingError, did_you_mean
from convoy.tracking import descriptions, logged_models

_BY_VERSION = re.compile(r"models:/(?P<name>[^/@:'\"]+)/(?P<version>\d+|latest)$")
_BY_ALIAS = re.compile(r"models:/(?P<name>[^/@:'\"]+)@(?P<alias>[^/@]+)$")
_BY_STAGE = re.compile(r"models:/(?P<name>[^/@:'\"]+)/(?P<stage>Production|Staging|Archived|None)$", re.IGNORECASE)
_BY_RUN = re.compile(r"runs:/(?P<run>[0-9a-f]+)/(?P<path>.+)$")
_BY_ID = re.compile(r"models:/m-[0-9a-f]+$")


@dataclass(frozen=True)
class Resolved:
    """Exactly one model: without an alias or ``latest``."""

    uri: str
    run_id: str | None


def default_uri(given: str | None, registered_model: str | None, field: str) -> str:
    """Return the configured model URI, or the newest version of the registered model."""
    if given:
        return given
    if registered_model:
        return f"models:/{registered_model}/latest"
    raise ConfigError(
        f"{field} is missing, and so is tracking.registered_model; give one, e.g. --{field} models:/digits/1"
    )


def register(model_uri: str, name: str, run_id: str) -> str:
    """Register a logged model as a new version, with the description of its run; return the version."""
    client = mlflow.MlflowClient()
    try:
        client.create_registered_model(name, description=descriptions.registered_note(name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise TrackingError(f"tracking.registered_model {name!r} cannot be created: {error}") from None
    return logged_models.create_version(client, name, model_uri, run_id, descriptions.note_of(run_id))


def resolve(uri: str) -> Resolved:
    """Resolve a model URI to one that always refers to the same model.

    Raises:
        TrackingError: There is no such model, version, alias or run; the message lists the existing ones.
    """
    if ".." in PurePosixPath(unquote(uri)).parts:
        raise TrackingError(f"{uri!r} is rejected: '..' leads out of the run; expected e.g. runs:/<run id>/model")
    client = mlflow.MlflowClient()
    if match := _BY_VERSION.match(uri) or _BY_ALIAS.match(uri):
        return _resolve_registered(client, uri, **match.groupdict())
    if match := _BY_RUN.match(uri):
        try:
            client.get_run(match["run"])
        except MlflowException:
            raise TrackingError(f"{uri}: there is no run {match['run']!r} at {mlflow.get_tracking_uri()}") from None
        return Resolved(uri, match["run"])
    if _BY_ID.match(uri):
        return Resolved(uri, None)
    if match := _BY_STAGE.match(uri):
        raise _stage(client, uri, **match.groupdict())
    raise TrackingError(
        f"{uri!r} is not a model URI; expected models:/name/version, models:/name@alias, models:/name/latest or"
        " runs:/<run id>/model"
    )


def exists(uri: str) -> bool:
    """Return whether a model URI refers to an existing model."""
    try:
        resolve(uri)
    except TrackingError:
        return False
    return True


def version_of(uri: str) -> tuple[str, str] | None:
    """Return (name, version) if a resolved URI names a version of a registered model, else None."""
    match = _BY_VERSION.match(uri)
    return (match["name"], match["version"]) if match else None


def alias_of(uri: str) -> tuple[str, str] | None:
    """Return (name, alias) if a URI names an alias, else None."""
    match = _BY_ALIAS.match(uri)
    return (match["name"], match["alias"]) if match else None


def aliases_of(name: str) -> dict[str, str]:
    """Return the aliases of a registered model: alias -> version.

    Raises:
        TrackingError: There is no such model; the message lists the existing ones.
    """
    client = mlflow.MlflowClient()
    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException:
        raise _unknown(client, f"model {name!r}", name) from None
    return {str(alias): str(version) for alias, version in aliases.items()}


def _unknown(client: mlflow.MlflowClient, what: str, name: str) -> TrackingError:
    names = sorted(model.name for model in client.search_registered_models())
    there = f"there are {', '.join(names)}" if names else "none is registered yet; run jobs/train.py first"
    return TrackingError(f"{what}: no model {name!r} is registered; {there}{did_you_mean(name, names)}")


def _stage(client: mlflow.MlflowClient, uri: str, name: str, stage: str) -> TrackingError:
    """Return the error for a URI with a stage: MLflow 3 has aliases instead of stages."""
    try:
        found = list(client.search_model_versions(f"name = '{name}'"))
    except MlflowException:
        found = []
    if not found:
        return _unknown(client, uri, name)
    versions = [int(each.version) for each in found if str(each.current_stage).lower() == stage.lower()]
    known = f"version {max(versions)} is in that stage: give models:/{name}/{max(versions)}, or" if versions else "give"
    alias = "champion" if stage.lower() == "production" else stage.lower()
    return TrackingError(
        f"{uri} has a stage, which MLflow has replaced by aliases; {known} an alias, as models:/{name}@{alias}; set it"
        f" on MLflow's page of the version, or MlflowClient().set_registered_model_alias({name!r}, {alias!r},"
        f" {str(max(versions)) if versions else 'version'!r})"
    )


def _resolve_registered(
    client: mlflow.MlflowClient, uri: str, name: str, version: str | None = None, alias: str | None = None
) -> Resolved:
    found = {str(v.version): v for v in client.search_model_versions(f"name = '{name}'")}
    if not found:
        raise _unknown(client, uri, name)
    newest = max(found, key=int)
    if alias is not None:
        aliases = aliases_of(name)
        if alias not in aliases:
            raise TrackingError(
                f"{uri}: model {name!r} has no alias {alias!r}; it has {', '.join(aliases) or 'none'}, and versions 1"
                f" to {newest}"
            )
        version = aliases[alias]
    elif version == "latest":
        version = newest
    if version not in found:
        versions = ", ".join(sorted(found, key=int))
        raise TrackingError(f"{uri}: model {name!r} has no version {version}; it has {versions}")
    return Resolved(f"models:/{name}/{version}", found[version].run_id)
