"""Training on real Horovod ranks, compared with one process: the number of ranks changes speed, not mathematics."""

import os
from pathlib import Path

import numpy as np
import pytest

from convoy.config import (
    DatasetConfig,
    ImageConfig,
    ModelConfig,
    OptimizerConfig,
    SourceConfig,
    TrainingConfig,
)
from convoy.dataset.ingest import ingest
from convoy.dataset.manifest import Manifest
from convoy.dataset.read import read_split
from convoy.dataset.sources import source_of
from convoy.errors import ClusterError, TrainingError
from convoy.models.registry import build
from convoy.training.launch import launch
from convoy.training.worker import TrainTask, load_trained

pytestmark = [pytest.mark.spark, pytest.mark.e2e]


@pytest.fixture(scope="module")
def dataset(spark, tmp_path_factory) -> Path:
    config = DatasetConfig(
        root=str(tmp_path_factory.mktemp("data")),
        name="digits",
        image=ImageConfig(height=32, width=32, channels=1),
        validation_fraction=0.05,
        test_fraction=0.75,
    )
    return ingest(spark, source_of(SourceConfig("digits")), config, lambda *_: None).path


def train(spark, dataset: Path, workers: int, **settings):
    options = {"epochs": 2, "global_batch_size": 40, "optimizer": OptimizerConfig("sgd", 0.05), **settings}
    task = TrainTask(str(dataset), ModelConfig(), TrainingConfig(num_workers=workers, **options), build, 1)
    events: list[dict] = []
    trained = launch(spark, task, events.append)
    return trained, [event["metrics"] for event in events if event["type"] == "epoch"]


@pytest.fixture(scope="module")
def batch(dataset) -> int:
    """Leaves a last batch of one sample: the hard case, since two of three ranks have none, and slices are uneven."""
    rows = Manifest.load(dataset).rows()["train"]
    return next(size for size in range(31, rows) if rows % size == 1 and size % 3)


@pytest.fixture(scope="module")
def three_ranks(spark, dataset, batch):
    return train(spark, dataset, 3, global_batch_size=batch)


def test_three_ranks_with_uneven_and_empty_slices_compute_what_one_does(spark, dataset, batch, three_ranks):
    # One rank rather than num_workers 0, which would take this process's TensorFlow settings.
    single, expected = train(spark, dataset, 1, global_batch_size=batch)
    several, measured = three_ranks
    for one, three in zip(expected, measured, strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert three[name] == pytest.approx(one[name], abs=1e-4), name
    for a, b in zip(load_trained(single).get_weights(), load_trained(several).get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_the_same_seed_gives_the_same_weights_bit_by_bit(spark, dataset, batch, three_ranks):
    again, _ = train(spark, dataset, 3, global_batch_size=batch)
    assert again.weights_sha256 == three_ranks[0].weights_sha256


def test_the_trained_model_keeps_no_trace_of_horovod_or_of_the_optimizer(three_ranks):
    model = load_trained(three_ranks[0])
    assert not model.compiled
    assert b"horovod" not in three_ranks[0].keras_file.lower()
    assert b"Distributed" not in three_ranks[0].keras_file


def test_validation_metrics_are_those_of_the_whole_split(dataset, three_ranks):
    trained, metrics = three_ranks
    data = read_split(dataset, Manifest.load(dataset), "validation")
    predicted = load_trained(trained).predict(data.images, verbose=0).argmax(axis=1)
    assert metrics[-1]["val_accuracy"] == pytest.approx((predicted == data.labels).mean(), abs=1e-6)


def test_more_ranks_than_slots_are_refused_at_once(spark, dataset):
    with pytest.raises(
        ClusterError, match=r"num_workers is 9, but Spark \(master local\[4\]\) can run 4 tasks at once"
    ):
        train(spark, dataset, 9)


def test_a_diverging_rate_ends_with_its_reason_on_every_rank(spark, dataset):
    with pytest.raises(TrainingError, match=r"lower training\.optimizer\.learning_rate"):
        train(spark, dataset, 2, optimizer=OptimizerConfig("sgd", 1e38))


def explode(*_):
    """Stands for a bug in a network's code."""
    raise ZeroDivisionError(f"a bug, in process {os.getpid() > 0}")


def test_a_bug_on_a_rank_comes_back_with_its_traceback(spark, dataset):
    task = TrainTask(str(dataset), ModelConfig(), TrainingConfig(num_workers=2, epochs=1), explode, 1)
    with pytest.raises(RuntimeError, match=r"(?s)a rank failed:.*ZeroDivisionError: a bug, in process True"):
        launch(spark, task, lambda event: None)
