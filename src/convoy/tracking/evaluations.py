"""Log an evaluation to the run that trained the model."""

from collections.abc import Mapping, Sequence
from typing import Any

import mlflow
import numpy as np
from mlflow.utils.time import get_current_time_millis

from convoy.dataset.storage.manifest import Manifest
from convoy.evaluation.confusion import Confusion, picture_of
from convoy.models.package import ModelPackage
from convoy.plots.training import confusion_picture
from convoy.tracking import connection, descriptions, logged_models, registry
from convoy.tracking.auth_errors import auth_errors_explained

PER_CLASS = "evaluation/{split}/per_class.json"


@auth_errors_explained()
def log_evaluation(
    package: ModelPackage,
    experiment: str,
    split: str,
    metrics: Mapping[str, float],
    per_class: Mapping[str, Sequence[float]],
    confusion: Confusion | np.ndarray,
    manifest: Manifest,
    documents: Mapping[str, Any] | None = None,
) -> str:
    """Log metrics, the per-class table and the confusion matrix to the model's run, and the metrics to the model too.

    Args:
        package: The model; a new run is opened if its run is not known.
        experiment: Experiment of that new run.
        split: Prefix of the metrics and folder of the artifacts.
        metrics: Name -> value.
        per_class: Column -> one value for each class.
        confusion: Counts of true and predicted classes, or the matrix int (K, K).
        manifest: Manifest of the dataset that was measured on; gives the class names and some tags.
        documents: Name of a file -> its content, as JSON; None logs no files.

    Returns:
        The run's id.
    """
    cells = confusion if isinstance(confusion, Confusion) else Confusion.of_matrix(confusion)
    client, classes, run_id = mlflow.MlflowClient(), manifest.classes, package.run_id
    opened = run_id is None
    if run_id is None:
        run_id = str(client.create_run(connection.experiment_id(experiment), run_name="evaluate").info.run_id)
    client.set_tag(run_id, f"evaluation.{split}.dataset_version", manifest.version)
    client.set_tag(run_id, f"evaluation.{split}.dataset_fingerprint", manifest.fingerprint)
    now, data = get_current_time_millis(), (manifest.name, manifest.version)
    measured = [
        logged_models.metric(f"{split}_{name}", value, now, package.model_id, data) for name, value in metrics.items()
    ]
    client.log_batch(run_id, measured)
    result = f"accuracy {metrics['accuracy']:.2%} of {cells.total:,}"
    note = f"{result}, {manifest.name} version `{manifest.version}`"
    descriptions.add_result(run_id, package.model_id, registry.version_of(package.uri), split, note)
    table = {"class": list(classes), **{name: list(values) for name, values in per_class.items()}}
    # Written with log_dict: log_table would append to the table of an earlier evaluation.
    client.log_dict(run_id, table, PER_CLASS.format(split=split))
    for name, content in (documents or {}).items():
        client.log_dict(run_id, content, f"evaluation/{split}/{name}")
    shown = picture_of(cells, classes)
    figure = confusion_picture(shown.counts, shown.names, f"{split}: {result}{shown.note}")
    client.log_figure(run_id, figure, f"evaluation/{split}/confusion_matrix.png")
    if opened:
        client.set_terminated(run_id, "FINISHED")
    return run_id
