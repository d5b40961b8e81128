"""An experiment in MLflow: a parent run, and a child run for each training, which are read back from MLflow."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import mlflow
from matplotlib.figure import Figure
from mlflow.exceptions import MlflowException

from convoy.config import Config
from convoy.console import say
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.tracking import connection
from convoy.tracking.artifact_store import check_artifact_store
from convoy.tracking.auth_errors import auth_errors_explained
from convoy.tracking.evaluations import PER_CLASS
from convoy.tracking.lifecycle import ending, provenance_tags, with_version
from convoy.tracking.run import TrainingRun

VARIANT, TRIAL, FAILURE = "convoy.variant", "convoy.trial", "convoy.failure"
_PARENT, _NAME = "mlflow.parentRunId", "mlflow.runName"
OF_EPOCHS = ("loss", "accuracy", "val_loss", "val_accuracy", "images_per_second")
_TEST = "test_"


@dataclass(frozen=True)
class ChildRun:
    """One training of a variant.

    Attributes:
        variant: Name of the variant.
        seed: ``training.seed``.
        run_id: MLflow's id.
        status: MLflow's: FINISHED, FAILED, KILLED.
        failure: Why it has no model; empty if it has one.
        seconds: Duration of the run.
        history: Epoch, from 0 -> its metrics; of a training that diverged, the epochs before.
        test: Name -> value on the test split; empty if it was not measured.
        recall: Recall of each class on the test split.
    """

    variant: str
    seed: int
    run_id: str
    status: str
    failure: str = ""
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    test: dict[str, float] = field(default_factory=dict)
    recall: list[float] = field(default_factory=list)


class ParentRun:
    """The parent run of an experiment.

    Attributes:
        run_id: MLflow's id.
    """

    def __init__(self, run_id: str, experiment_id: str) -> None:
        self.run_id, self.experiment_id = run_id, experiment_id
        self._client = mlflow.MlflowClient()

    def tags_of_child(self, variant: str, name: str) -> dict[str, str]:
        """Return the tags that make a training's run a child of this one.

        Args:
            variant: Name of its variant.
            name: Name of the run.
        """
        return {_PARENT: self.run_id, _NAME: name, VARIANT: variant}

    def tags_of_trial(self, number: int | None, name: str) -> dict[str, str]:
        """Return the tags that make a trial's run a child of this one.

        Args:
            number: Number of the trial; None for a training that is not a trial.
            name: Name of the run.
        """
        return {_PARENT: self.run_id, _NAME: name, **({} if number is None else {TRIAL: str(number)})}

    def log_trial(self, number: int, metrics: Mapping[str, float], run_id: str, tags: Mapping[str, str]) -> None:
        """Log a trial's metrics to this run, with the trial's number from 1 as step, and tags to the trial's run."""
        for name, value in metrics.items():
            self._client.log_metric(self.run_id, name, value, step=number + 1)
        for name, text in tags.items():
            self._client.set_tag(run_id, name, text)

    def set_tag(self, name: str, text: str) -> None:
        """Set a tag."""
        self._client.set_tag(self.run_id, name, text)

    def trials(self) -> list[ChildRun]:
        """Read the children, in the order in which they began."""
        found = self._client.search_runs(
            [self.experiment_id], f"tags.`{_PARENT}` = '{self.run_id}'", order_by=["attributes.start_time ASC"]
        )
        return [replace(_trial(run, run.data.tags[VARIANT]), recall=_recall(run)) for run in found]

    def log(self, pictures: Mapping[str, Figure], texts: Mapping[str, str]) -> None:
        """Log the comparison; it replaces the previous one.

        Args:
            pictures: Name of a file -> the picture.
            texts: Name of a file -> its content.
        """
        for name, picture in pictures.items():
            self._client.log_figure(self.run_id, picture, name)
        for name, text in texts.items():
            self._client.log_text(self.run_id, text, name)


def trial_of(run_id: str, variant: str) -> ChildRun:
    """Read any training's run as a trial, without the recall of each class.

    Args:
        run_id: Its id.
        variant: Name that it has among others.
    """
    return _trial(mlflow.MlflowClient().get_run(run_id), variant)


def _trial(run: mlflow.entities.Run, variant: str) -> ChildRun:
    client, info, data = mlflow.MlflowClient(), run.info, run.data
    epochs: dict[int, dict[str, float]] = {}
    for name in OF_EPOCHS:
        for metric in client.get_metric_history(info.run_id, name) if name in data.metrics else []:
            epochs.setdefault(metric.step - 1, {})[name] = metric.value
    test = {name.removeprefix(_TEST): value for name, value in data.metrics.items() if name.startswith(_TEST)}
    return ChildRun(
        variant=variant,
        seed=int(data.params.get("training.seed", 0)),
        run_id=info.run_id,
        status=info.status,
        failure=_reason(data.tags.get(FAILURE, "")),
        seconds=((info.end_time or info.start_time) - info.start_time) / 1000,
        history=[epochs[epoch] for epoch in sorted(epochs)],
        test=test,
    )


def _recall(run: mlflow.entities.Run) -> list[float]:
    if not any(name.startswith(_TEST) for name in run.data.metrics):
        return []
    found = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/{PER_CLASS.format(split='test')}").get("recall", [])
    return list(found)


def _reason(failure: str) -> str:
    """Return the first line of a failure, without the name of the exception."""
    kind, colon, text = failure.partition(": ")
    return (text if colon and kind.isidentifier() else failure).partition("\n")[0]


@contextmanager
def parent_run(
    config: Config,
    path: Location,
    manifest: Manifest,
    spark_application: str,
    job: str = "experiment",
    again: str | None = None,
) -> Iterator[ParentRun]:
    """Open the parent run; it ends as FINISHED, or as KILLED or FAILED with a reason.

    Args:
        config: Its settings become parameters, including the section with the name of the job.
        path: Folder of the dataset version.
        manifest: Its manifest.
        spark_application: Id of the Spark application.
        job: Name of the job: ``experiment`` or ``tune``.
        again: Id of the run of an earlier start, to resume; if it does not exist any more, a new one is opened.
    """
    client = mlflow.MlflowClient()
    run = _reopened(client, again) if again else None
    fresh = run is None
    if run is None:
        experiment = connection.experiment_id(config.tracking.experiment)
        check_artifact_store(experiment)
        with auth_errors_explained():
            run = TrainingRun(client.create_run(experiment, run_name=f"{job}-{manifest.name}").info.run_id, experiment)
    with ending(run):
        if fresh:
            run.log_config(with_version(config, manifest), job)
            run.log_dataset(manifest, path)
        say(f"run {run.run_id} {connection.place_of(config.tracking)}")
        tags = provenance_tags(manifest, spark_application, config.training.num_workers)
        run.set_tags({**tags, "mlflow.source.name": f"jobs/{job}.py"})
        yield ParentRun(run.run_id, run.experiment_id)


def _reopened(client: mlflow.MlflowClient, run_id: str) -> TrainingRun | None:
    """Resume a run, or return None if the store has no run of that id. Children that a killed driver left are ended."""
    try:
        found = client.get_run(run_id)
        client.update_run(run_id, status="RUNNING")
    except MlflowException:
        return None
    if FAILURE in found.data.tags:
        client.delete_tag(run_id, FAILURE)
    query = f"tags.`{_PARENT}` = '{run_id}' and attributes.status = 'RUNNING'"
    for child in client.search_runs([found.info.experiment_id], query):
        client.set_tag(child.info.run_id, FAILURE, "the driver was killed")
        client.set_terminated(child.info.run_id, "KILLED")
    return TrainingRun(run_id, found.info.experiment_id)
