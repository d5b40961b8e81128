"""A model on a split -> metrics and pictures in its run: ``python jobs/evaluate.py --config conf/digits.yaml``."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from convoy.cli import run_job
from convoy.config import Config
from convoy.console import say
from convoy.dataset import catalog
from convoy.dataset.manifest import Manifest
from convoy.evaluation.bootstrap import bootstrap
from convoy.evaluation.decision import Opponents, decide
from convoy.evaluation.gates import judge, parse_gates
from convoy.evaluation.measure import measure_rows
from convoy.evaluation.metrics import evaluate
from convoy.evaluation.tables import as_documents, as_fields, as_text
from convoy.spark import session
from convoy.tracking import store
from convoy.tracking.evaluations import log_evaluation
from convoy.tracking.package import load_package
from convoy.tracking.registry import default_uri


def run(config: Config) -> dict[str, Any]:
    """Evaluate, and promote or refuse where there are gates; returns the fields of the JSON line."""
    started, section = time.monotonic(), config.evaluation
    uri = default_uri(section.model, config.tracking.registered_model, "evaluation.model")
    path = catalog.find(config.dataset.root, config.dataset.name, config.dataset.version)
    manifest = Manifest.load(path)
    manifest.split(section.split)
    gates = parse_gates(section.gates, manifest.classes, section.top_k)
    store.connect(config.tracking.uri, config.tracking.registry_uri)
    package = load_package(uri, manifest.classes, manifest.image)
    opponents = Opponents(gates, package, manifest)
    with session("evaluate", config.spark) as spark:
        outcomes, others = measure_rows(spark, package, opponents.packages, path, manifest, section.split)
    shape = len(manifest.classes), section.top_k
    found = evaluate(outcomes, *shape)
    intervals = bootstrap(outcomes, *shape, section.bootstrap) if section.bootstrap else None
    findings = judge(gates, found, outcomes, opponents.predictions(outcomes.predictions, others))
    measured = section.split, found.overall(), found.per_class(), found.confusion, manifest
    documents = as_documents(found, intervals, findings)
    run_id = log_evaluation(package, config.tracking.experiment, *measured, documents)
    say(as_text(found, intervals, manifest.classes, findings))
    say(f"evaluate: {package.uri} on {found.rows:,} {section.split} images: accuracy {found.accuracy:.4f}")
    where = {"run_id": run_id, "model": package.uri, "dataset_version": manifest.version, "split": section.split}
    result = {**where, **as_fields(found, intervals), "seconds": round(time.monotonic() - started, 3)}
    return decide(findings, package.uri, run_id, result)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status."""
    return run_job("evaluate", run, "A model on a split of the dataset -> metrics and pictures in its run.", argv)


if __name__ == "__main__":
    sys.exit(main())
