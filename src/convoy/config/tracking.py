"""Section ``tracking``."""

from dataclasses import dataclass

from convoy.config.locations import local_database
from convoy.config.validation import require, settle


@dataclass(frozen=True)
class TrackingConfig:
    """MLflow."""

    uri: str = "sqlite:///mlflow.db"
    """Tracking URI: a SQLite file, http(s)://server, or `databricks`."""
    experiment: str = "convoy"
    """MLflow experiment of the runs."""
    report: bool = True
    """Log `report.html` with its pictures to each training run: the network's errors, and the regions it relies on."""
    registered_model: str | None = None
    """Name under which each trained model is registered as a new version; null registers none."""
    registry_uri: str | None = None
    """Registry URI, if it is not the tracking URI; e.g. `databricks-uc` for Unity Catalog."""

    def __post_init__(self) -> None:
        settle(self, "uri", local_database("tracking.uri", self.uri))
        if self.registry_uri is not None:
            settle(self, "registry_uri", local_database("tracking.registry_uri", self.registry_uri))
        name = self.registered_model
        plain = name is None or (name != "" and not any(sign in name for sign in "/:@'\""))
        require(plain, "tracking.registered_model", name, "a name without / : @ or quotes")
