"""What the tracking store holds of a training."""

from collections import Counter
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from chaos.training import Broken

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy", "images_per_second", "learning_rate")


def weights_of_finished_run(store: Path, experiment: str, epochs: int) -> str:
    """Return the SHA-256 of the weights of an experiment's run.

    Raises:
        Broken: There is another number of runs than one, it is not finished, or a metric of one of the epochs is not
            there exactly once.
    """
    client = _client(store)
    runs = _runs(client, experiment)
    if [run.info.status for run in runs] != ["FINISHED"]:
        raise Broken(f"the store has runs with status {[run.info.status for run in runs]}, not one FINISHED")
    for key in METRICS:
        counts = Counter(point.step for point in client.get_metric_history(runs[0].info.run_id, key))
        for epoch in range(1, epochs + 1):
            if counts[epoch] != 1:
                raise Broken(f"{key} of epoch {epoch} is logged {counts[epoch]} times")
    return str(runs[0].data.tags.get("weights.sha256", ""))


def run_id(store: Path, experiment: str) -> str:
    """Id of the only run of an experiment."""
    (run,) = _runs(_client(store), experiment)
    return str(run.info.run_id)


def _client(store: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{store.absolute()}")


def _runs(client: MlflowClient, experiment: str) -> list[Run]:
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id])) if found else []
