"""One MLflow run per training: opened or resumed, and ended with the training's result."""

import getpass
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import mlflow
from mlflow.exceptions import MlflowException

from convoy.config import Config
from convoy.console import say
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import TrackingError, TrainingStopped
from convoy.tracking import connection, liveness, logged_models, provenance
from convoy.tracking.artifact_store import first_artifacts
from convoy.tracking.auth_errors import auth_errors_explained
from convoy.tracking.presentation import run_name
from convoy.tracking.run import TrainingRun

_LAST_WORDS_SECONDS = 5.0  # of a run that has failed
_PARENT = "mlflow.parentRunId"
_ENDINGS = (KeyboardInterrupt, TrainingStopped)  # that do not count as failures


@contextmanager
def training_run(
    config: Config, path: Location, manifest: Manifest, spark_application: str, tags: Mapping[str, str] | None = None
) -> Iterator[TrainingRun]:
    """Open a run with its provenance, or resume one; it ends as FINISHED, or as KILLED or FAILED with a reason.

    Args:
        config: Its settings become parameters; those of a resumed run (``training.resume``) are not changed.
        path: Folder of the dataset version.
        manifest: Its manifest.
        spark_application: Id of the Spark application.
        tags: More tags; ``mlflow.runName`` is the run's name.

    Raises:
        TrackingError: There is no run with that id.
    """
    client = mlflow.MlflowClient()
    with auth_errors_explained():
        if logged_models.HAVE_IDS and not logged_models.have_ids():
            say("the tracking server is older than MLflow 3: the model is logged as an artifact of its run, without id")
    if config.training.resume is None:
        experiment = connection.experiment_id(config.tracking.experiment)
        name = (tags or {}).get("mlflow.runName", run_name(config))
        with auth_errors_explained():
            run = TrainingRun(client.create_run(experiment, run_name=name).info.run_id, experiment)
    else:
        run = _reopened(config.training.resume)
    if _PARENT not in (tags or {}):
        run.then = f", then continue with --resume {run.run_id}"
        say(f"run {run.run_id} {connection.place_of(config.tracking)}")
    with ending(run):
        with first_artifacts(run.run_id):
            provenance.log_record(run.run_id, config, manifest)
        if config.training.resume is None:
            run.log_config(with_version(config, manifest))
            run.log_dataset(manifest, path)
        run.set_tags({**provenance_tags(manifest, spark_application, config.training.num_workers), **(tags or {})})
        yield run


@contextmanager
def ending(run: TrainingRun) -> Iterator[None]:
    """Mark a run as FINISHED after the block, or as KILLED or FAILED with the reason.

    Raises:
        TrackingError: The store no longer accepts the credentials.
    """
    client = mlflow.MlflowClient()
    try:
        with auth_errors_explained(run.then), liveness.heartbeat(client, run.run_id):
            yield
    except BaseException as error:
        try:
            run.flush(_LAST_WORDS_SECONDS)
            stopped = isinstance(error, TrainingStopped)
            tag, text = (
                "stopped" if stopped else "failure",
                str(error) if stopped else f"{type(error).__name__}: {error}",
            )
            client.set_tag(run.run_id, f"convoy.{tag}", text[:5000])
            client.set_terminated(run.run_id, "KILLED" if isinstance(error, _ENDINGS) else "FAILED")
        except Exception as other:  # it must not hide why the run failed
            say(f"warning: MLflow did not accept the end of run {run.run_id} ({connection.first_line(other)})")
        raise
    with auth_errors_explained():
        client.set_terminated(run.run_id, "FINISHED")


def _reopened(run_id: str) -> TrainingRun:
    """Open a run that has ended, with the metrics of its epochs."""
    client = mlflow.MlflowClient()
    try:
        found = client.get_run(run_id)
        if pid := liveness.other_driver(found.info.status, found.data.tags):
            raise TrackingError(
                f"training.resume: run {run_id} is still trained by process {pid}; wait for it, or end it"
            )
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        raise TrackingError(
            f"training.resume: there is no run {run_id!r} to resume in {mlflow.get_tracking_uri()}"
            f" ({connection.first_line(error)})"
        ) from None
    if "convoy.failure" in found.data.tags:
        client.delete_tag(run_id, "convoy.failure")
    resumed = int(found.data.tags.get("convoy.resumed", "0"))
    client.set_tag(run_id, "convoy.resumed", str(resumed + 1))
    run = TrainingRun(run_id, found.info.experiment_id)
    run.remember(client.get_metric_history(run_id, name) for name in found.data.metrics)
    return run


def with_version(config: Config, manifest: Manifest) -> Config:
    """Return the configuration with the dataset's version in place of ``latest``."""
    return replace(config, dataset=replace(config.dataset, version=manifest.version))


def provenance_tags(manifest: Manifest, spark_application: str, num_workers: int) -> dict[str, str]:
    """Return the tags that record the provenance of a run."""
    tags = {
        "mlflow.source.name": "jobs/train.py",
        "mlflow.source.type": "JOB",
        "mlflow.user": getpass.getuser(),
        provenance.COMMIT: provenance.git_commit(),
        "spark.application_id": spark_application,
        "world_size": str(max(1, num_workers)),
        provenance.DATASET: manifest.name,
        provenance.VERSION: manifest.version,
        provenance.FINGERPRINT: manifest.fingerprint,
        **liveness.tags(),
    }
    return {name: value for name, value in tags.items() if value}
