"""Train a network on Horovod ranks, in one MLflow run, and register the model."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
from pyspark.sql import SparkSession

from convoy.cluster.preflight import check_executors, memory_per_rank
from convoy.cluster.session_facts import application_id
from convoy.cluster.spark import session
from convoy.config import Config
from convoy.console import say
from convoy.dataset.reading.examples import read_examples
from convoy.dataset.reading.split_reader import samples_per_epoch
from convoy.dataset.storage.filesystem import Location, location
from convoy.dataset.storage.manifest import NAME as MANIFEST
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ConfigError, TrackingError
from convoy.insight.report import explainer
from convoy.models.builder import build, custom_network
from convoy.models.input_scale import listed
from convoy.models.pretrained.transfer import InitialWeights, weights_in_file
from convoy.models.rewiring import fresh_names
from convoy.models.summary.describe import describe
from convoy.models.summary.picture import can_draw, write_picture
from convoy.models.summary.text import full_text, totals_line
from convoy.plots.lr_finder import rate_curve
from convoy.tracking import connection, lr_sweep, stages
from convoy.tracking.artifact_store import check_artifact_store
from convoy.tracking.descriptions import training_note
from convoy.tracking.initial_weights import SCHEMES, download_weights
from convoy.tracking.lifecycle import training_run
from convoy.tracking.model_io import log_model
from convoy.tracking.provenance import WEIGHTS_SHA256, tags_of_weights
from convoy.tracking.run import TrainingRun
from convoy.tracking.search import find
from convoy.training.checkpoint.resume import (
    checkpoint_folder,
    ensure_checkpoint_root,
    resumed_preprocessing,
    with_cache_of_checkpoint,
)
from convoy.training.display import ConsoleDisplay, Display
from convoy.training.distributed.elastic import ranks_to_start
from convoy.training.distributed.launch import launch, run_on_ranks, task_of
from convoy.training.events import Emit, Event
from convoy.training.history import Reporter, TrainingHistory
from convoy.training.loop import TrainedModel, TrainTask, load_trained
from convoy.training.network import check_weights
from convoy.training.optim.lr_finder import find_rate
from convoy.training.preparation import fit_cache, prepare
from convoy.training.shared_weights import where_ranks_read
from convoy.workflows import signatures
from convoy.workflows.results import TrainResult


def train(config: Config, spark: SparkSession | None = None, tags: Mapping[str, str] | None = None) -> TrainResult:
    """Train a network on the configured dataset version; log the run and register the model.

    With ``training.find_learning_rate`` the learning rate is swept instead, and nothing is registered.

    Args:
        config: Sections ``dataset``, ``model``, ``training``, ``tracking`` and ``spark``.
        spark: The session; by default the active one, or a new one that is stopped at the end.
        tags: More tags for the run; ``mlflow.runName`` is its name.

    Returns:
        The run, the model's URI and the metrics.

    Raises:
        ConvoyError: Something that the user gave does not fit; the message says how to fix it.
        RankFailure: Ranks were lost more often than ``training.max_restarts`` allows.
    """
    started = time.monotonic()
    if config.training.resume:
        config = _resumed(config)
    path, manifest, network = prepare(config, build)
    connection.connect(config.tracking.uri, config.tracking.registry_uri, create=True)
    if not config.training.resume:
        check_artifact_store(connection.experiment_id(config.tracking.experiment))
    with initial_weights(config, manifest) as weights, session("train", config.spark, spark) as running:
        ranks = ranks_to_start(running, config.training)
        machines = check_executors(running, ranks, str(path / MANIFEST), ensure_checkpoint_root(config.training))
        fitted = replace(config, training=fit_cache(config.training, manifest, memory_per_rank(running, machines)))
        run, fields = train_in_run(running, fitted, path, manifest, weights, tags or {}, Hooks(network=network))
    result = TrainResult(
        run_id=run.run_id,
        experiment_id=run.experiment_id,
        model_uri=fields.pop("model_uri", None),
        model_version=fields.pop("model_version", None),
        metrics=fields,
        seconds=round(time.monotonic() - started, 3),
        epochs=run.history,
    )
    stages.record(run.run_id, "train", signatures.of_training(config, manifest), result.to_json())
    return result


def _resumed(config: Config) -> Config:
    """Return the configuration with the full id of the run to resume, for which the beginning of it may be given."""
    given = str(config.training.resume)
    if not given.isalnum():  # not an id; the check of the checkpoint says so
        return config
    connection.connect(config.tracking.uri, config.tracking.registry_uri)
    try:
        run_id = find(given).run_id
    except TrackingError as error:
        raise TrackingError(f"training.resume: {error}") from None
    return with_cache_of_checkpoint(replace(config, training=replace(config.training, resume=run_id)))


@dataclass(frozen=True)
class Hooks:
    """How a training is started and observed.

    Attributes:
        launch: Trains; by default on Horovod ranks.
        opened: Takes the run, once it is open.
        watch: Takes each epoch's metrics, once they are logged; what it raises ends the training.
        display: Shows the training's events; None shows them on the console.
        network: Network whose totals are printed and whose layers are logged; None logs none.
        checkpoints: Whether checkpoints are written.
    """

    launch: Callable[[SparkSession, TrainTask, Emit], TrainedModel] = launch
    opened: Callable[[TrainingRun], None] | None = None
    watch: Reporter | None = None
    display: Display | None = None
    network: keras.Model | None = None
    checkpoints: bool = True


def train_in_run(
    spark: SparkSession,
    config: Config,
    path: Location,
    manifest: Manifest,
    weights: InitialWeights | None,
    tags: Mapping[str, str],
    hooks: Hooks,
) -> tuple[TrainingRun, dict[str, Any]]:
    """Open a run, train in it, log and register the model.

    Args:
        spark: The session.
        config: The configuration.
        path: Folder of the dataset version.
        manifest: Its manifest.
        weights: Weights to start from.
        tags: Tags of the run.
        hooks: How the training is started and observed.

    Returns:
        (the run, ended; fields of the result).
    """
    config = with_preprocessing(config, manifest)
    application = application_id(spark)
    tags = {**tags_of_weights(weights.file if weights else None), **tags}
    with (
        training_run(config, path, manifest, application, tags) as run,
        where_ranks_read(weights, checkpoint_folder(config.training, run.run_id)) as readable,
    ):
        if hooks.opened:
            hooks.opened(run)
        if hooks.network:
            _describe_network(hooks.network, config, run)
        task = task_of(spark, config, path, build, run.run_id, readable, checkpoints=hooks.checkpoints)
        if config.training.find_learning_rate:
            return run, _find_learning_rate(spark, task, manifest, run)
        return run, _train_and_log(spark, config, task, path, manifest, run, hooks)


def _describe_network(model: keras.Model, config: Config, run: TrainingRun) -> None:
    """Print the network's totals, and log the table of its layers, and its picture where Graphviz exists."""
    network = describe(model, config.training)
    say(totals_line(network))
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        picture = Path(folder) / "network.png"
        if can_draw():
            try:
                write_picture(model, str(picture))
            except ConfigError as error:
                say(f"warning: {error}")
        run.log_network(full_text(network), picture if picture.exists() else None)


def with_preprocessing(config: Config, manifest: Manifest) -> Config:
    """Return the configuration with the ``model.preprocessing`` that ``auto`` stands for, and print the decision.

    A custom network is built once for it, with the values of its weights. The result is what the run records, its
    checkpoints contain and its ranks build.

    Raises:
        ModelError: As ``build``.
    """
    model = config.model
    if config.training.resume and model.preprocessing == "auto":
        return replace(config, model=resumed_preprocessing(config))
    decision = model.preprocessing if model.preprocessing != "auto" else "dataset"
    if model.layers is not None or ":" in model.name:
        with fresh_names():
            scale = custom_network(model, manifest.shape, len(manifest.classes)).scale
        first = listed(scale.normalising)
        if model.preprocessing == "auto" and scale.is_normalised:
            decision = "none"
            say(f"train: {model.name} normalises its samples itself (layer {first}): model.preprocessing is none")
        elif model.preprocessing != "none" and scale.normalising:
            say(
                f"warning: {model.name} normalises its samples itself (layer {first})"
                + (f", but not those that layer {listed(scale.unchanged)} takes" if scale.is_mixed else "")
                + f"; model.preprocessing {decision} normalises them too: set it to none if that is not intended"
            )
    return replace(config, model=replace(model, preprocessing=decision))


def _train_and_log(
    spark: SparkSession,
    config: Config,
    task: TrainTask,
    path: Location,
    manifest: Manifest,
    run: TrainingRun,
    hooks: Hooks,
) -> dict[str, Any]:
    rows, epochs = samples_per_epoch(manifest, task.training.class_balance), task.training.epochs

    def log_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        run.log_epoch(epoch, metrics)
        if hooks.watch:
            hooks.watch(epoch, metrics)

    history = TrainingHistory(rows, log_epoch, run.log_ranks, run.log_sample, run.log_health)
    with hooks.display or ConsoleDisplay(rows, epochs) as display:

        def handle(event: Event) -> None:
            if history.record(event):
                display.show(event)

        trained = hooks.launch(spark, task, handle)
    run.log_best()
    run.flush()  # first: it waits for a tracking server that is away
    run.set_tags({WEIGHTS_SHA256: trained.weights_sha256})
    run.log_curves()
    examples = read_examples(path, manifest, "validation")
    model, summary = load_trained(trained), history.summary()
    run.describe(training_note(task.model, task.training, manifest, model.count_params(), summary))
    if config.tracking.report:
        explainer(config, path, manifest)(run, model)
    with _kept_on_failure(trained, location(checkpoint_folder(config.training, run.run_id))):
        uri, version = log_model(model, manifest, examples, run.run_id, config.tracking.registered_model)
    return {"model_uri": uri, "model_version": version, **summary}


@contextmanager
def _kept_on_failure(trained: TrainedModel, folder: Location) -> Iterator[None]:
    """Keep the trained network in a folder if the block, which logs it, fails."""
    try:
        yield
    except BaseException:  # an interrupt too
        file = folder / "model.keras"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(trained.keras_file)
        except OSError as error:
            say(f"warning: the trained model is lost: {file} cannot be written ({error.strerror})")
        else:
            say(f"the trained model could not be logged to MLflow; it is kept in {file}")
        raise


def _find_learning_rate(spark: SparkSession, task: TrainTask, manifest: Manifest, run: TrainingRun) -> dict[str, Any]:
    """Sweep the learning rate on the ranks and log the curve; return fields of the result."""
    rows = samples_per_epoch(manifest, task.training.class_balance)
    with ConsoleDisplay(rows, epochs=1) as display:
        sweep = run_on_ranks(spark, task, display.show, find_rate)
    curve = rate_curve(sweep.rates, sweep.losses, sweep.smoothed, sweep.first, sweep.suggestion, sweep.scale)
    lr_sweep.log_sweep(run, sweep.rates, sweep.losses, list(sweep.smoothed), sweep.suggestion, curve)
    rate, updates = sweep.suggestion, len(sweep.losses)
    if rate is None:
        say(f"the loss did not fall at any learning rate; look at {lr_sweep.PICTURE} of run {run.run_id}")
    else:
        say(f"suggested: --training.optimizer.learning_rate {rate:g}; {lr_sweep.PICTURE} of run {run.run_id} shows why")
    return {
        "suggested_learning_rate": rate,
        "updates": updates,
        "lowest_loss": float(min(sweep.smoothed, default=sweep.first)),
    }


@contextmanager
def initial_weights(config: Config, manifest: Manifest) -> Iterator[InitialWeights | None]:
    """Yield the weights that ``model.initial_weights`` names, after a check that they fit the network.

    Only the driver fetches them, so ranks need no access to MLflow. A download is removed after the block. A resumed
    run has its weights in its checkpoint, so None is yielded.

    Raises:
        TrackingError: There is no such model, or it cannot be fetched.
        ModelError: There is no such file, the model has no ``.keras`` file, or the weights do not fit.
    """
    source = config.model.initial_weights
    if source is None or config.training.resume:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        if source.startswith(SCHEMES):
            file, classes = download_weights(source, Path(folder))
            weights = InitialWeights(str(file), source, classes)
        else:
            weights = weights_in_file(source)
        say(f"model.initial_weights {source}: {check_weights(build, config.model, manifest, weights)}")
        yield weights
