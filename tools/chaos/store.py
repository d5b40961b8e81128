"""What the tracking store holds of a training."""

import contextlib
import sqlite3
from pathlib import Path

from chaos.training import Broken

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy", "images_per_second", "learning_rate")


def weights_of_finished_run(store: Path, experiment: str, epochs: int) -> str:
    """Return the SHA-256 of the weights of an experiment's run.

    Raises:
        Broken: There is another number of runs than one, it is not finished, or a metric of one of the epochs is not
            there exactly once.
    """
    with contextlib.closing(sqlite3.connect(store)) as connection:
        runs = connection.execute(
            "select run_uuid, status from runs join experiments using (experiment_id) where experiments.name = ?",
            (experiment,),
        ).fetchall()
        if [status for _, status in runs] != ["FINISHED"]:
            raise Broken(f"the store has runs with status {[status for _, status in runs]}, not one FINISHED")
        logged = connection.execute(
            "select key, step, count(*) from metrics where run_uuid = ? group by key, step", (runs[0][0],)
        ).fetchall()
        counts = {(key, step): count for key, step, count in logged}
        for key in METRICS:
            for epoch in range(1, epochs + 1):
                if counts.get((key, epoch)) != 1:
                    raise Broken(f"{key} of epoch {epoch} is logged {counts.get((key, epoch), 0)} times")
        tags = connection.execute("select key, value from tags where run_uuid = ?", (runs[0][0],))
        return str(dict(tags.fetchall()).get("weights.sha256", ""))


def run_id(store: Path, experiment: str) -> str:
    """Id of the only run of an experiment."""
    with contextlib.closing(sqlite3.connect(store)) as connection:
        (row,) = connection.execute(
            "select run_uuid from runs join experiments using (experiment_id) where experiments.name = ?",
            (experiment,),
        )
    return str(row[0])
