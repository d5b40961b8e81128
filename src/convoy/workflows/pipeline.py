"""Run ingest, train, evaluate and score in one process and one Spark session; skip stages that are already done."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar, get_args

from pyspark.sql import SparkSession

from convoy.cluster.spark import session
from convoy.config import Config
from convoy.console import say
from convoy.dataset.sources import source_of
from convoy.dataset.storage import catalog
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ConfigError, GateFailure
from convoy.inference.sinks.write import check_output
from convoy.inference.sources import check_input, split_named
from convoy.tracking import connection, promotion, registry, stages
from convoy.tracking.child_runs import trial_of
from convoy.training.distributed.elastic import check_session_of_ranks
from convoy.workflows import signatures
from convoy.workflows.evaluate import evaluate
from convoy.workflows.ingest import ingest
from convoy.workflows.results import EvaluationResult, PipelineResult, Result, ScoreResult, TrainResult
from convoy.workflows.score import score
from convoy.workflows.train import train

Stage = Literal["ingest", "train", "evaluate", "score"]
STAGES: tuple[Stage, ...] = get_args(Stage)

R = TypeVar("R", bound=Result)
OnResult = Callable[[Stage, Result, bool], None]
"""Takes each stage's name and result as soon as it has ended, and whether it was skipped."""


def pipeline(
    config: Config,
    spark: SparkSession | None = None,
    first: Stage = "ingest",
    last: Stage = "score",
    on_result: OnResult | None = None,
) -> PipelineResult:
    """Run the stages from ``first`` to ``last``, with the same results as the four jobs one after the other.

    A stage that is already done for the same content and the same configuration is skipped: the version of the dataset
    exists, a finished run has the same signature (see ``signatures``), the model was evaluated or its scores are
    published and unchanged. Each stage uses what the stage before it made, unless the configuration names a dataset
    version or a model.

    Args:
        config: All sections.
        spark: The session; by default the active one, or a new one that is stopped at the end.
        first: The first stage to run.
        last: The last stage to run.
        on_result: Takes the result of each stage as soon as it has ended.

    Returns:
        The results of all stages.

    Raises:
        ConvoyError: Something that the user gave does not fit; the message says how to fix it.
        GateFailure: The model did not pass a gate; nothing is scored then.
    """
    started = time.monotonic()
    begin, end = STAGES.index(first), STAGES.index(last)
    if begin > end:
        raise ConfigError(f"--from is {first} and --until is {last}; expected a stage that is not after the last one")
    wanted = STAGES[begin : end + 1]
    _check(config, wanted)
    done: dict[str, Any] = dict.fromkeys(STAGES)
    skipped: list[Stage] = []

    def finish(stage: Stage, result: Result, was_done: bool) -> None:
        done[stage] = result
        if was_done:
            skipped.append(stage)
        if on_result is not None:
            on_result(stage, result, was_done)

    with session("pipeline", config.spark, spark) as running:
        if "train" in wanted:
            check_session_of_ranks(running, config.training)
        for stage in wanted:
            if stage == "ingest":
                ingested = ingest(config, running)
                finish(stage, ingested, ingested.existed)
                if config.dataset.version == "latest":
                    config = replace(config, dataset=replace(config.dataset, version=ingested.version))
            elif stage == "train":
                finish(stage, *_or_skipped(stage, _trained(config), partial(train, config, running)))
                config = _with_model(config, done["train"].model_uri)
            elif stage == "evaluate":
                try:
                    finish(stage, *_or_skipped(stage, _evaluated(config), partial(evaluate, config, running)))
                except GateFailure as failure:
                    failure.result = {"job": stage, **failure.result}
                    raise
            else:
                finish(stage, *_or_skipped(stage, _scored(config), partial(score, config, running)))
    return PipelineResult(**done, skipped=skipped, seconds=round(time.monotonic() - started, 3))


def _check(config: Config, wanted: tuple[Stage, ...]) -> None:
    """Raise an error for everything that can be found before Spark starts, also in later stages."""
    if "ingest" in wanted:
        source_of(config.source)
    if "train" in wanted and config.training.find_learning_rate and wanted[-1] != "train":
        raise ConfigError("training.find_learning_rate is true, and a sweep makes no model; expected --until train")
    if "train" not in wanted:
        given = {"evaluate": config.evaluation.model, "score": config.scoring.model}
        for stage in set(wanted) & set(given):
            field = "evaluation.model" if stage == "evaluate" else "scoring.model"
            registry.default_uri(given[stage], config.tracking.registered_model, field)
    if "score" in wanted:
        check_output(config.scoring)
        if "ingest" not in wanted or not split_named(config.scoring.input or ""):
            check_input(config)
    if wanted != ("ingest",):
        connection.connect(config.tracking.uri, config.tracking.registry_uri, create="train" in wanted)


def _or_skipped(stage: Stage, earlier: R | None, run: Callable[[], R]) -> tuple[R, bool]:
    if earlier is None:
        return run(), False
    say(f"{stage}: already done for the same data and configuration; skipped")
    return earlier, True


def _with_model(config: Config, uri: str | None) -> Config:
    """Evaluate and score the model that was just trained, unless the configuration names another."""
    return replace(
        config,
        evaluation=replace(config.evaluation, model=config.evaluation.model or uri),
        scoring=replace(config.scoring, model=config.scoring.model or uri),
    )


def _manifest(config: Config) -> Manifest:
    return Manifest.load(catalog.find(config.dataset.root, config.dataset.name, config.dataset.version))


def _trained(config: Config) -> TrainResult | None:
    """Return the result of an earlier training with the same signature whose model still exists."""
    manifest = _manifest(config)
    connection.connect(config.tracking.uri, config.tracking.registry_uri, create=True)
    signature = signatures.of_training(config, manifest)
    run_id = stages.find_training(config.tracking.experiment, signature)
    found = stages.recorded(run_id, "train", signature) if run_id else None
    if not run_id or not found or not registry.exists(str(found.get("model_uri"))):
        return None
    return TrainResult.from_json(found, dict(enumerate(trial_of(run_id, "").history)))


def _resolved(config: Config, given: str | None, field: str) -> registry.Resolved:
    connection.connect(config.tracking.uri, config.tracking.registry_uri)
    return registry.resolve(registry.default_uri(given, config.tracking.registered_model, field))


def _evaluated(config: Config) -> EvaluationResult | None:
    """Return an earlier evaluation; one with gates only as long as the alias that it set has not moved."""
    manifest, model = _manifest(config), _resolved(config, config.evaluation.model, "evaluation.model")
    if model.run_id is None:
        return None
    found = stages.recorded(model.run_id, "evaluate", signatures.of_evaluation(config, model.uri, manifest))
    if found is None:
        return None
    result = EvaluationResult.from_json(found)
    version = registry.version_of(result.model)
    if not result.gates or version is None or registry.aliases_of(version[0]).get(promotion.CHAMPION) == version[1]:
        return result
    return None


def _scored(config: Config) -> ScoreResult | None:
    model = _resolved(config, config.scoring.model, "scoring.model")
    check_input(config)
    if model.run_id is None:
        return None
    signature = signatures.of_scoring(config, model.uri, signatures.input_states(config))
    found = stages.recorded(model.run_id, "score", signature)
    return None if found is None else ScoreResult.from_json(found)
