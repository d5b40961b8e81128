"""A dataset -> one MLflow run and a registered model version: ``python jobs/train.py --config conf/digits.yaml``."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from convoy.cli import run_job
from convoy.config import Config
from convoy.insight.report import explainer
from convoy.models.registry import build
from convoy.spark import session
from convoy.tracking import store
from convoy.tracking.initial_weights import initial_weights
from convoy.tracking.lifecycle import training_run
from convoy.tracking.record import tags_of_weights
from convoy.tracking.recorded import find_learning_rate, tell_network, train_model
from convoy.training.elastic import ranks_to_start
from convoy.training.launch import task_of
from convoy.training.preflight import check_executors
from convoy.training.preparation import prepare
from convoy.training.recovery import checkpoint_folder, made_folder
from convoy.training.transfer import where_ranks_read


def run(config: Config, tags: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Train, in a run with these tags; returns the fields of the JSON line."""
    started = time.monotonic()
    path, manifest, network = prepare(config, build)
    store.connect(config.tracking.uri, config.tracking.registry_uri, create=True)
    with initial_weights(config, build, manifest) as weights, session("train", config.spark) as spark:
        workers = ranks_to_start(spark, config.training)
        check_executors(spark, workers, str(path), made_folder(config.training))
        tags = {**tags_of_weights(weights.file if weights else None), **(tags or {})}
        with (
            training_run(config, path, manifest, spark.sparkContext.applicationId, tags) as tracked,
            where_ranks_read(weights, checkpoint_folder(config.training, tracked.run_id)) as readable,
        ):
            tell_network(tracked, network)
            task = task_of(spark, config, path, build, tracked.run_id, readable)
            if config.training.find_learning_rate:
                result = find_learning_rate(spark, task, manifest, tracked)
            else:
                result = train_model(spark, task, manifest, tracked, config.tracking, explainer(config, path, manifest))
    return {
        "run_id": tracked.run_id,
        "experiment_id": tracked.experiment_id,
        **result,
        "seconds": round(time.monotonic() - started, 3),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status."""
    return run_job("train", run, "A dataset -> one MLflow run and a registered model version.", argv)


if __name__ == "__main__":
    sys.exit(main())
