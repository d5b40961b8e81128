"""Log a scoring as a separate run, linked to the model."""

import dataclasses
import getpass
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlflow
import numpy as np
from matplotlib.figure import Figure
from mlflow.entities import Param, RunTag
from mlflow.utils.time import get_current_time_millis

from convoy.config import Config
from convoy.console import say
from convoy.models.package import ModelPackage
from convoy.plots.training import label_text
from convoy.tracking import connection, logged_models
from convoy.tracking.auth_errors import auth_errors_explained
from convoy.tracking.presentation import flatten
from convoy.tracking.provenance import COMMIT, git_commit
from convoy.tracking.redaction import without_secrets
from convoy.tracking.registry import version_of

SUMMARY, PICTURE = "scoring/summary.json", "scoring/histograms.png"
_MOST_BARS = 40
_MOST_PARAM = 6000
_TRAINING, _SCORED = "#1f6f8b", "#e07a3f"


@dataclass(frozen=True)
class Histogram:
    """Counts of scored rows, beside those of the training images.

    Attributes:
        title: Quantity that is counted.
        labels: Labels of the bins.
        scored: Rows in each bin.
        training: Training images in each bin; None if that is not known.
    """

    title: str
    labels: Sequence[str]
    scored: Sequence[int]
    training: Sequence[int] | None


@auth_errors_explained()
def log_scoring(
    config: Config,
    package: ModelPackage,
    spark_application: str,
    metrics: Mapping[str, float],
    document: Mapping[str, Any],
    figure: Figure,
) -> str:
    """Log a scoring as a run; MLflow shows the run and its metrics on the model's page too.

    Args:
        config: Section ``scoring`` becomes parameters; ``tracking`` gives the store.
        package: The model.
        spark_application: Id of the Spark application.
        metrics: Name -> value.
        document: Content of the JSON artifact.
        figure: The picture.

    Returns:
        The run's id.

    Raises:
        TrackingError: The store does not answer.
    """
    connection.connect(config.tracking.uri, config.tracking.registry_uri)
    client, named = mlflow.MlflowClient(), version_of(package.uri)
    experiment = connection.experiment_id(config.tracking.experiment)
    model_name = " ".join(named) if named else package.uri
    run_id = str(client.create_run(experiment, run_name=f"score-{model_name}".replace(" ", "-")).info.run_id)
    try:
        tags = {
            "mlflow.source.name": "jobs/score.py",
            "mlflow.source.type": "JOB",
            "mlflow.user": getpass.getuser(),
            COMMIT: git_commit(),
            "spark.application_id": spark_application,
            "model.uri": package.uri,
            **({"model.name": named[0], "model.version": named[1]} if named else {}),
            "model.run_id": package.run_id or "",
        }
        params = flatten({"scoring": dataclasses.asdict(config.scoring)})
        given = {name: value for name, value in params.items() if value is not None}
        now, model_id = get_current_time_millis(), package.model_id
        logged_models.link(client, run_id, model_id)
        client.log_batch(
            run_id,
            [logged_models.metric(name, value, now, model_id) for name, value in metrics.items()],
            [Param(name, without_secrets(name, str(value))[:_MOST_PARAM]) for name, value in given.items()],
            [RunTag(name, value) for name, value in tags.items() if value],
        )
        client.log_dict(run_id, dict(document), SUMMARY)
        client.log_figure(run_id, figure, PICTURE)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")
    say(f"score: run {run_id} {connection.place_of(config.tracking)}")
    return run_id


def histogram_picture(histograms: Sequence[Histogram]) -> Figure:
    """Draw histograms below each other, as shares; if there are many bins, those with the largest shares."""
    figure = Figure(figsize=(10, 3.2 * len(histograms)), layout="constrained")
    for axes, histogram in zip(figure.subplots(len(histograms), squeeze=False)[:, 0], histograms, strict=True):
        parts = [("scored", np.asarray(histogram.scored, np.float64), _SCORED)]
        if histogram.training is not None:
            parts.insert(0, ("training", np.asarray(histogram.training, np.float64), _TRAINING))
        shares = np.stack([counts / max(1.0, counts.sum()) for _, counts, _ in parts])
        shown = np.sort(np.argsort(-shares.max(axis=0), kind="stable")[:_MOST_BARS])
        width = 0.8 / len(parts)
        for i, (name, counts, colour) in enumerate(parts):
            where = np.arange(len(shown)) + (i - (len(parts) - 1) / 2) * width
            axes.bar(where, shares[i, shown], width, label=f"{name}, {int(counts.sum()):,}", color=colour)
        labels = [label_text(histogram.labels[index]) for index in shown]
        steep = sum(map(len, labels)) > 110
        axes.set_xticks(range(len(shown)), labels, rotation=90 if steep else 0, fontsize=8)
        left_out = len(histogram.labels) - len(shown)
        axes.set(title=histogram.title + (f" (the {len(shown)} largest)" if left_out else ""), ylabel="share")
        axes.grid(axis="y", alpha=0.3)
        axes.legend(frameon=False)
    return figure
