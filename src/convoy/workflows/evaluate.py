"""Evaluate a model on a split, log the metrics to its run, and promote it if it passes the gates."""

import functools
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

from convoy.cluster.spark import session
from convoy.config import Config
from convoy.console import say
from convoy.dataset.storage import catalog
from convoy.dataset.storage.filesystem import Location
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import GateFailure
from convoy.evaluation.bootstrap import bootstrap
from convoy.evaluation.gates import Finding, Gate, NotWorse, judge, parse_gates
from convoy.evaluation.metrics import Evaluation, Outcomes
from convoy.evaluation.metrics import evaluate as compute_metrics
from convoy.evaluation.tables import as_documents, as_fields, summary_of
from convoy.inference.arrow_udf import measure_columns, measure_row_groups
from convoy.inference.dataframe import check_dataset, row_groups_of, score_task
from convoy.models.package import ModelPackage
from convoy.tracking import connection, promotion, stages
from convoy.tracking.evaluations import log_evaluation
from convoy.tracking.model_io import load_package
from convoy.tracking.registry import default_uri
from convoy.workflows import signatures
from convoy.workflows.model_facts import facts_of
from convoy.workflows.results import EvaluationResult

_BATCH_SIZE = 256


def evaluate(config: Config, spark: SparkSession | None = None) -> EvaluationResult:
    """Evaluate a model on a split of the dataset; with gates, promote the model if it passes all of them.

    Args:
        config: Sections ``evaluation``, ``dataset``, ``tracking`` and ``spark``.
        spark: The session; by default the active one, or a new one that is stopped at the end.

    Returns:
        The metrics, and the result of the gates.

    Raises:
        ConvoyError: Something that the user gave does not fit; the message says how to fix it.
        GateFailure: The model did not pass a gate; its ``result`` has the fields of the JSON line.
    """
    started, section = time.monotonic(), config.evaluation
    uri = default_uri(section.model, config.tracking.registered_model, "evaluation.model")
    path = catalog.find(config.dataset.root, config.dataset.name, config.dataset.version)
    manifest = Manifest.load(path)
    manifest.split(section.split)
    gates = parse_gates(section.gates, manifest.classes, section.top_k)
    connection.connect(config.tracking.uri, config.tracking.registry_uri)
    package = load_package(uri, manifest.classes, manifest.image, facts_of(config.scoring))
    baselines = BaselineModels(gates, package, manifest)
    with session("evaluate", config.spark, spark) as running:
        outcomes, others = measure_rows(running, package, baselines.packages, path, manifest, section.split)
    shape = len(manifest.classes), section.top_k
    found = compute_metrics(outcomes, *shape)
    intervals = bootstrap(outcomes, *shape, section.bootstrap) if section.bootstrap else None
    findings = judge(gates, found, outcomes, baselines.predictions(outcomes.predictions, others))
    measured = section.split, found.overall(), found.per_class(), found.cells, manifest
    documents = as_documents(found, intervals, findings)
    run_id = log_evaluation(package, config.tracking.experiment, *measured, documents)
    say(f"evaluate: logged to run {run_id} at {connection.store_name(config.tracking.uri)}")
    say(*summary_of(found, intervals, manifest.classes, findings))
    say(f"evaluate: {package.uri} on {found.rows:,} {section.split} images: accuracy {found.accuracy:.4f}")
    result = EvaluationResult(
        run_id=run_id,
        model=package.uri,
        dataset_version=manifest.version,
        split=section.split,
        metrics=as_fields(found, intervals),
        seconds=round(time.monotonic() - started, 3),
    )
    result = apply_gates(findings, result)
    signature = signatures.of_evaluation(config, package.uri, manifest)
    stages.record(run_id, "evaluate", signature, result.to_json())
    return result


class BaselineModels:
    """The models that gates compare with, each loaded once.

    Attributes:
        packages: Those that have to be measured: not missing, and not the evaluated model itself.
    """

    def __init__(self, gates: Sequence[Gate], package: ModelPackage, manifest: Manifest) -> None:
        """Load them, before any Spark work.

        Raises:
            TrackingError: One of them does not exist.
            ModelError: One of them does not fit the dataset.
        """
        self._own = package.uri
        self._by_uri = {gate.uri: promotion.load_champion(gate.uri) for gate in gates if isinstance(gate, NotWorse)}
        found = {other.uri: other for other in self._by_uri.values() if other is not None and other.uri != package.uri}
        self.packages = list(found.values())
        for other in self.packages:
            check_dataset(other, manifest)

    def predictions(self, own: np.ndarray, others: Sequence[np.ndarray]) -> dict[str, np.ndarray | None]:
        """Return the predictions of each, by the URI in the gate; None if there is no such model yet.

        Args:
            own: int (N,), of the evaluated model.
            others: int (N,) of each of ``packages``.
        """
        by_model = {self._own: own, **{p.uri: found for p, found in zip(self.packages, others, strict=True)}}
        return {uri: None if package is None else by_model[package.uri] for uri, package in self._by_uri.items()}


def apply_gates(findings: Sequence[Finding], result: EvaluationResult) -> EvaluationResult:
    """Record the result of the gates, and promote a registered version that passed all of them.

    Args:
        findings: One for each gate; without gates nothing changes.
        result: The result without gates.

    Returns:
        The result with them.

    Raises:
        GateFailure: The model did not pass a gate.
    """
    if not findings:
        return result
    reasons = "; ".join(f"{each.gate}: {each.found}" for each in findings if not each.passed)
    in_use = promotion.record_gates(result.model, result.run_id, reasons or None)
    result = replace(result, passed=not reasons, gates=[vars(each) for each in findings])
    if reasons:
        raise GateFailure(f"{result.model} is not good enough: {reasons}", result.to_json())
    if in_use is None:
        say(f"all gates passed; no alias was set, because {result.model} is not a version of a registered model")
        return result
    before = f" ({promotion.PREVIOUS}: {in_use.previous})" if in_use.previous else ""
    say(f"all gates passed: {promotion.CHAMPION} of {in_use.model} is version {in_use.champion}{before}")
    return replace(result, champion=in_use.champion, previous=in_use.previous)


def measure(
    spark: SparkSession, package: ModelPackage, path: Location, manifest: Manifest, split: str, top_k: int
) -> Evaluation:
    """Evaluate a model on a split of a dataset version.

    Raises:
        DatasetError: No such split.
        ModelError: The model does not fit the dataset.
    """
    outcomes, _ = measure_rows(spark, package, [], path, manifest, split)
    return compute_metrics(outcomes, len(manifest.classes), top_k)


def measure_rows(
    spark: SparkSession,
    package: ModelPackage,
    others: Sequence[ModelPackage],
    path: Location,
    manifest: Manifest,
    split: str,
) -> tuple[Outcomes, list[np.ndarray]]:
    """Predict each row of a split with a model and with others beside it; the rows are read once for all of them.

    Args:
        spark: The session.
        package: The model.
        others: Further models that fit the dataset.
        path: Folder of the dataset version.
        manifest: Its manifest.
        split: Name of the split.

    Returns:
        (the model's outcomes, for each other model its predictions for the same rows in the same order: int (N,)).

    Raises:
        DatasetError: No such split.
        ModelError: The model does not fit the dataset.
    """
    row_groups = row_groups_of(spark, path, manifest, split, package)
    task, *tasks = (score_task(spark, each, _BATCH_SIZE) for each in (package, *others))
    rows: pd.DataFrame = row_groups.mapInArrow(
        functools.partial(measure_row_groups, task=task, others=tasks, codec=manifest.codec),
        measure_columns(len(others)),
    ).toPandas()
    outcomes = Outcomes(
        rows["label"].to_numpy(),
        rows["prediction_index"].to_numpy(),
        rows["rank_of_true"].to_numpy(),
        rows["probability_of_true"].to_numpy(),
        rows["confidence"].to_numpy(),
    )
    return outcomes, [rows[f"other_{i}"].to_numpy() for i in range(len(others))]
