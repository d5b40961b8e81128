"""Results of finished stages, stored with the run, so that a pipeline can skip them later."""

from collections.abc import Mapping
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from convoy.console import say
from convoy.tracking.connection import find_experiment, first_line
from convoy.tracking.search import artifact_json

SIGNATURE = "convoy.signature"
"""Tag of a training run: a hash of its data and its configuration."""


def record(run_id: str, stage: str, signature: str | None, result: Mapping[str, Any]) -> None:
    """Store the result of a stage with a run. A tracking server that does not answer only causes a warning.

    Args:
        run_id: Id of the run that trained the model.
        stage: ``train``, ``evaluate`` or ``score``.
        signature: Hash of everything that the result depends on; if None (unknown), nothing is stored.
        result: The fields of the JSON line.
    """
    if signature is None:
        return
    client = mlflow.MlflowClient()
    try:
        client.log_dict(run_id, dict(result), _file(stage, signature))
        if stage == "train":
            client.set_tag(run_id, SIGNATURE, signature)
    except Exception as error:
        say(f"warning: a later pipeline cannot skip {stage}: {first_line(error)}")


def recorded(run_id: str, stage: str, signature: str | None) -> dict[str, Any] | None:
    """Return the result of a stage that was stored under this signature, or None if there is none."""
    if signature is None:
        return None
    return artifact_json(run_id, _file(stage, signature))


def find_training(experiment: str, signature: str | None) -> str | None:
    """Return the id of the newest finished training run with this signature, or None if there is none."""
    client = mlflow.MlflowClient()
    found = find_experiment(experiment)
    if signature is None or found is None:
        return None
    query = f"tags.`{SIGNATURE}` = '{signature}' and attributes.status = 'FINISHED'"
    try:
        runs = client.search_runs([found.experiment_id], query, max_results=1)
    except MlflowException:
        return None
    return str(runs[0].info.run_id) if runs else None


def _file(stage: str, signature: str) -> str:
    return f"stages/{stage}-{signature[:16]}.json"
