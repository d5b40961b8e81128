"""Section ``tracking``."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from convoy.config.locations import local_database
from convoy.config.validation import require, settle

_FIELDS = {
    "uri": "MLFLOW_TRACKING_URI",
    "registry_uri": "MLFLOW_REGISTRY_URI",
    "experiment": "MLFLOW_EXPERIMENT_NAME",
}
_EXPERIMENT_ID = "MLFLOW_EXPERIMENT_ID"
VARIABLES = (*_FIELDS.values(), _EXPERIMENT_ID)
"""Environment variables that are defaults."""
ID_PREFIX = "id:"
"""Start of a value of ``tracking.experiment`` that is the id of an experiment."""


def _default_experiment() -> str:
    if name := os.environ.get(_FIELDS["experiment"]):
        return name
    number = os.environ.get(_EXPERIMENT_ID)
    return f"{ID_PREFIX}{number}" if number else "convoy"


@dataclass(frozen=True)
class TrackingConfig:
    """MLflow. MLflow's environment variables are the defaults of the fields that they correspond to."""

    uri: str = field(default_factory=lambda: os.environ.get(_FIELDS["uri"]) or "sqlite:///mlflow.db")
    """Tracking URI: a SQLite file, http(s)://server, or `databricks`. Default: MLFLOW_TRACKING_URI, else
    sqlite:///mlflow.db."""
    experiment: str = field(default_factory=_default_experiment)
    """MLflow experiment of the runs: its name, or `id:` and its id. Default: MLFLOW_EXPERIMENT_NAME, else
    MLFLOW_EXPERIMENT_ID, else convoy."""
    report: bool = True
    """Log `report.html` with its pictures to each training run: the network's errors, and the regions it relies on."""
    registered_model: str | None = None
    """Name under which each trained model is registered as a new version; null registers none."""
    registry_uri: str | None = field(default_factory=lambda: os.environ.get(_FIELDS["registry_uri"]) or None)
    """Registry URI, if it is not the tracking URI; e.g. `databricks-uc` for Unity Catalog. Default:
    MLFLOW_REGISTRY_URI, else the tracking URI."""

    def __post_init__(self) -> None:
        settle(self, "uri", local_database("tracking.uri", self.uri))
        if self.registry_uri is not None:
            settle(self, "registry_uri", local_database("tracking.registry_uri", self.registry_uri))
        name = self.registered_model
        plain = name is None or (name != "" and not any(sign in name for sign in "/:@'\""))
        require(plain, "tracking.registered_model", name, "a name without / : @ or quotes")
        if name and (self.registry_uri or self.uri).startswith("databricks-uc"):
            parts = name.split(".")
            three = len(parts) == 3 and all(parts)
            require(three, "tracking.registered_model", name, "catalog.schema.model, as Unity Catalog has three levels")


def setting_of(field_name: str, value: str | None, environment: Mapping[str, str] | None = None) -> str:
    """Return the name of the setting that a value comes from: the field, or MLflow's environment variable.

    Args:
        field_name: ``uri``, ``registry_uri`` or ``experiment``.
        value: The value.
        environment: The environment; None is that of the process.
    """
    environment = os.environ if environment is None else environment
    variable = _FIELDS[field_name]
    if field_name == "experiment" and not environment.get(variable):
        variable, value = _EXPERIMENT_ID, (value or "").removeprefix(ID_PREFIX)
    return variable if value and environment.get(variable) == value else f"tracking.{field_name}"


def overridden(field_name: str, value: str | None, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the name of the environment variable that has another value than the one used; None if there is none."""
    environment = os.environ if environment is None else environment
    variable = _FIELDS[field_name]
    other = environment.get(variable)
    return variable if other and other != value else None
