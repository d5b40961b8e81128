"""Score images with a model, publish the predictions, and compare them with the training data."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from convoy.cluster.session_facts import application_id
from convoy.cluster.spark import session, stage_progress
from convoy.config import Config
from convoy.console import Progress, say
from convoy.inference.sinks.write import check_output, score_to_output
from convoy.inference.sources import check_input, input_notes
from convoy.models.package import ModelPackage
from convoy.monitoring.drift import Drift, compare, text_of, warnings_of
from convoy.monitoring.image_stats import ImageStats, image_stats_for
from convoy.monitoring.score_summary import Summary, summarise
from convoy.tracking import connection, stages
from convoy.tracking.model_io import load_package
from convoy.tracking.registry import default_uri
from convoy.tracking.scorings import Histogram, histogram_picture, log_scoring
from convoy.workflows import signatures
from convoy.workflows.model_facts import facts_of
from convoy.workflows.results import ScoreResult

CLASSES, OF_IMAGES = "class mix", ("brightness", "height", "width")
_SIZES_UNKNOWN = "the images do not have their original size"
_NOT_COUNTED = "not counted in this session of Spark Connect"
_NO_PROFILE = "the model's dataset was ingested by a Convoy that did not record this; ingest and train again"
_NO_TRAINING = "the model has no record of its training data"


def score(config: Config, spark: SparkSession | None = None) -> ScoreResult:
    """Score ``scoring.input`` with a model, and publish the predictions in ``scoring.output``.

    Args:
        config: Sections ``scoring``, ``dataset``, ``tracking`` and ``spark``.
        spark: The session; by default the active one, or a new one that is stopped at the end.

    Returns:
        Where the predictions are, and a summary of them.

    Raises:
        ConvoyError: Something that the user gave does not fit; the message says how to fix it.
    """
    started = time.monotonic()
    section = config.scoring
    uri = default_uri(section.model, config.tracking.registered_model, "scoring.model")
    check_input(config)
    check_output(section)
    connection.connect(config.tracking.uri, config.tracking.registry_uri)
    package = load_package(uri, facts=facts_of(section))
    inputs = signatures.input_states(config)
    with session("score", config.spark, spark) as running:
        for line in input_notes(running, config):
            say(line)
        gauge = image_stats_for(running, package)
        with (
            Progress("score", 1) as progress,
            stage_progress(running, lambda fraction: progress.note(f"{fraction:.0%} of the tasks", fraction)),
        ):
            written = score_to_output(running, config, package, gauge)
        seconds = time.monotonic() - started
        rows, errors = written.rows, written.errors
        say(f"score: {rows:,} rows, {errors:,} with an error, by {package.uri} -> {section.output}  [{seconds:.1f} s]")
        summary = report_scores(written.added, config, package, gauge, seconds)
    result = ScoreResult(package.uri, written.output, round(seconds, 3), summary)
    if package.run_id is not None:
        stages.record(package.run_id, "score", signatures.of_scoring(config, package.uri, inputs), result.to_json())
    return result


def report_scores(
    scored: DataFrame, config: Config, package: ModelPackage, gauge: ImageStats | None, seconds: float
) -> dict[str, Any]:
    """Count published scores, compare them with training, print the results, and log a run if requested.

    If the tracking server does not answer, the scores are not affected: there is a warning, and no run.

    Args:
        scored: The written rows (of a table, those of this job); they are read once.
        config: ``scoring.log_run`` requests the run.
        package: The model.
        gauge: The accumulator of the scoring; None if there was none.
        seconds: Duration of the job so far.

    Returns:
        Fields of the job's JSON line.
    """
    summary = summarise(scored)
    drifts = compare_with_training(package, summary, gauge.found() if gauge else {})
    rate = summary.rows / seconds
    say(f"score: {summary.text()}; {rate:,.1f} images/s")
    say(f"score: {text_of(drifts)}")
    for warning in warnings_of(drifts):
        say(warning)
    fields = {
        **summary.fields(),
        "images_per_second": round(rate, 1),
        "drift": {name.replace(" ", "_"): found.fields() for name, found in drifts.items()},
    }
    if not config.scoring.log_run:
        return fields
    histograms = _histograms(package, summary, gauge)
    try:
        application = application_id(scored.sparkSession)
        document = {"model": package.uri, **fields, "histograms": [_document(histogram) for histogram in histograms]}
        picture = histogram_picture(histograms)
        run_id = log_scoring(config, package, application, _metrics(summary, drifts, rate), document, picture)
    except Exception as error:  # the scores are published in any case
        say(f"warning: the scores are published, but MLflow has no run of them: {connection.first_line(error)}")
        return {**fields, "run_id": None}
    return {**fields, "run_id": run_id}


def compare_with_training(
    package: ModelPackage, summary: Summary, counted: Mapping[str, np.ndarray]
) -> dict[str, Drift]:
    """Compare the scored images with the data that the model was trained on.

    Args:
        package: The model.
        summary: Summary of the scored rows. The predicted classes are compared with the training labels, so a
            model that errs in one direction differs even on its own training images.
        counted: ``brightness``, ``height``, ``width`` -> rows in each bin of the training images.

    Returns:
        Name of the quantity -> its comparison.
    """
    rows, training = sum(summary.classes.values()), package.training
    names = (CLASSES, *(OF_IMAGES if package.geometry else ()))
    if training is None:
        return {name: Drift(rows, None, _NO_TRAINING) for name in names}
    actual = [summary.classes.get(name, 0) for name in package.classes]
    found = {CLASSES: compare(training.class_counts, actual, package.classes)}
    for name in names[1:]:
        if training.profile is None:
            found[name] = Drift(rows, None, _NO_PROFILE)
        elif name not in counted:
            unknown = _SIZES_UNKNOWN if "brightness" in counted else _NOT_COUNTED
            found[name] = Drift(0, None, unknown if rows else "0 rows")
        else:
            bins = getattr(training.profile, name)
            found[name] = compare(bins.counts, counted[name].tolist(), bins.labels())
    return found


def _metrics(summary: Summary, drifts: Mapping[str, Drift], rate: float) -> dict[str, float]:
    """Return metrics named ``score_...``: an experiment's charts show them beside those of trainings."""
    metrics: dict[str, float] = {
        "rows": summary.rows,
        "errors": sum(summary.errors.values()),
        "images_per_second": rate,
        **({} if summary.mean_confidence is None else {"mean_confidence": summary.mean_confidence}),
    }
    psi = {f"psi_{name.replace(' ', '_')}": found.psi for name, found in drifts.items() if found.psi is not None}
    return {f"score_{name}": value for name, value in (metrics | psi).items()}


def _histograms(package: ModelPackage, summary: Summary, gauge: ImageStats | None) -> list[Histogram]:
    known, training = package.classes, package.training
    counts = [summary.classes.get(name, 0) for name in known]
    histograms = [Histogram(CLASSES, known, counts, training.class_counts if training else None)]
    if gauge is not None:
        for name, found in gauge.found().items():
            bins = getattr(gauge.profile, name)
            histograms.append(Histogram(name, bins.labels(), found.tolist(), bins.counts))
    return histograms


def _document(histogram: Histogram) -> dict[str, Any]:
    values = {"labels": histogram.labels, "training": histogram.training, "scored": histogram.scored}
    return {"of": histogram.title, **{name: part and list(part) for name, part in values.items()}}
