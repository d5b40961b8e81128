"""A tracking store with a few runs as training leaves them."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow

from convoy.config import Config
from convoy.tracking import connection, provenance
from convoy.tracking.run import TrainingRun
from tests.logged import connect

CURVES = {"up": [0.5, 0.8, 0.9], "peak": [0.5, 0.95, 0.7], "low": [0.1, 0.2, 0.3]}
RATES = {"up": 0.1, "peak": 0.01, "low": 0.001}


@dataclass(frozen=True)
class Store:
    """A SQLite store.

    Attributes:
        uri: Of the store.
        folder: Where it and its artifacts are.
        ids: Name -> run id.
    """

    uri: str
    folder: Path
    ids: dict[str, str]

    def connect(self) -> None:
        """Point MLflow at it."""
        connection.connect(self.uri)


def config_of(name: str) -> Config:
    """The configuration of one of the runs."""
    default = Config()
    training = default.training
    optimizer = replace(training.optimizer, learning_rate=RATES[name])
    return replace(default, training=replace(training, optimizer=optimizer, seed=len(name)))


def copied(store: Store, folder: Path) -> Store:
    """A copy of a store, to write to, which is quicker than another one; artifacts stay where they are."""
    shutil.copy(store.folder / "mlflow.db", folder)
    copy = replace(store, uri=f"sqlite:///{folder.absolute()}/mlflow.db", folder=folder)
    copy.connect()
    return copy


def written(folder: Path) -> Store:
    """Write three runs that finished, one that failed and one that goes on."""
    uri = connect(folder)
    experiment, client, ids = connection.experiment_id("curves"), mlflow.MlflowClient(), {}
    for name, curve in CURVES.items():
        run = TrainingRun(client.create_run(experiment, run_name=name).info.run_id, experiment)
        run.log_config(config_of(name))
        for epoch, value in enumerate(curve):
            metrics = {"accuracy": value, "loss": 1 - value, "val_accuracy": value, "val_loss": 1 - value}
            run.log_epoch(epoch, {**metrics, "images_per_second": 100.0, "learning_rate": RATES[name]})
            run.log_health(epoch, {"dead_units/c1": 0.25})
        run.log_best()
        run.flush()
        run.set_tags({provenance.DATASET: "animals", provenance.VERSION: "v1" if name == "up" else "v2"})
        client.set_terminated(run.run_id)
        ids[name] = run.run_id
    failed = client.create_run(experiment, run_name="failed")
    client.log_metric(failed.info.run_id, "val_accuracy", float("nan"), step=1)
    client.log_metric(failed.info.run_id, "val_loss", float("inf"), step=1)
    client.set_terminated(failed.info.run_id, "FAILED")
    other = client.create_run(connection.experiment_id("other"), run_name="goes on")
    return Store(uri, folder, ids | {"failed": failed.info.run_id, "goes on": other.info.run_id})
