"""Thousands of classes: no array has a cell for every pair of them."""

import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import mlflow
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from convoy.errors import ModelError
from convoy.evaluation.bootstrap import bootstrap
from convoy.evaluation.confusion import Confusion, picture_of
from convoy.evaluation.metrics import evaluate
from convoy.evaluation.tables import as_documents, as_fields, summary_of
from convoy.inference.dataframe import check_dataset
from convoy.insight.predictions import Predictions
from convoy.models.package import ModelPackage
from convoy.plots.training import confusion_picture
from tests.field.inputs.many_classes import arrays, outcomes
from tests.logged import manifest

MANY, ROWS = 20_000, 60_000
GIB = 1 << 30


@pytest.fixture
def peak():
    """Measure what NumPy and Python allocate in the test: returns the peak in bytes."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_an_evaluation_of_20_000_classes_takes_a_fraction_of_a_gigabyte(peak):
    found = evaluate(given := outcomes(MANY, ROWS), MANY, 5)
    intervals = bootstrap(given, MANY, 5, 50)
    names = [f"class {i}" for i in range(MANY)]
    shown = picture_of(found.cells, names)
    figure = confusion_picture(shown.counts, shown.names, shown.note)
    documents = as_documents(found, intervals, [])
    assert peak() < GIB // 2  # a matrix of all pairs has 3.2 GB
    assert found.accuracy == pytest.approx((given.labels == given.predictions).mean())
    assert found.cells.total == ROWS
    assert len(json.dumps(as_fields(found, intervals))) < 2_000
    assert sum(len(str(part)) for part in summary_of(found, intervals, names, [])) < 10_000
    assert len(json.dumps(documents)) < 5_000_000
    assert len(figure.axes[0].get_yticks()) == 50
    assert {"class 0", "class 1", "class 2"} <= set(shown.names)


def test_metrics_are_those_of_scikit_learn():
    given = outcomes(200, 5_000, seed=3)
    found = evaluate(given, 200, 5)
    names = np.arange(200)
    expected = precision_recall_fscore_support(given.labels, given.predictions, labels=names, zero_division=0)
    for ours, theirs in zip((found.precision, found.recall, found.f1, found.support), expected, strict=True):
        np.testing.assert_allclose(ours, theirs)
    assert np.array_equal(found.confusion, confusion_matrix(given.labels, given.predictions, labels=names))


def test_the_picture_has_the_worst_classes_and_a_column_for_all_others():
    given = outcomes(200, 5_000, seed=3)
    cells = Confusion.of(given.labels, given.predictions, 200)
    matrix = cells.matrix()
    shown = picture_of(cells, [str(i) for i in range(200)])
    worst = np.array([int(name) for name in shown.names])
    recall = matrix.diagonal() / np.maximum(matrix.sum(axis=1), 1)
    assert len(worst) == 50
    assert recall[worst].max() <= np.delete(recall, worst).min()
    assert np.array_equal(shown.counts[:, :-1], matrix[np.ix_(worst, worst)])
    assert np.array_equal(shown.counts.sum(axis=1), matrix[worst].sum(axis=1))
    assert "50 classes with the lowest recall, of 200" in shown.note
    few = Confusion.of(given.labels % 5, given.predictions % 5, 5)
    whole = picture_of(few, list("abcde"))
    assert (whole.names, whole.note, whole.counts.shape) == (list("abcde"), "", (5, 5))


def test_the_reports_predictions_do_not_hold_all_probabilities(peak):
    rows, batch = 2_560, 256
    random = np.random.default_rng(0)

    def batches():
        for _ in range(rows // batch):
            probabilities = random.random((batch, MANY), np.float32)
            yield random.integers(0, MANY, batch), probabilities / probabilities.sum(axis=1, keepdims=True)

    found = Predictions.of(batches(), MANY, rows)
    assert (len(found), found.evaluate().rows) == (rows, rows)
    assert peak() < 4 * rows * MANY // 2  # half of what all probabilities take


def test_predictions_are_reduced_without_a_loss():
    random = np.random.default_rng(0)
    labels, probabilities = random.integers(0, 7, 100), random.dirichlet(np.ones(7), 100).astype(np.float32)
    found = Predictions.of([(labels[:60], probabilities[:60]), (labels[60:], probabilities[60:])], 7, 100)
    assert np.array_equal(found.predicted, probabilities.argmax(axis=1))
    assert np.array_equal(found.confidence, probabilities.max(axis=1))
    assert np.array_equal(found.of_true, probabilities[np.arange(100), labels])
    ordered = np.sort(probabilities, axis=1)
    assert np.array_equal(found.margin, ordered[:, -1] - ordered[:, -2])
    assert np.array_equal(found.rank_of_true, (probabilities > found.of_true[:, None]).sum(axis=1))


def test_a_model_with_other_classes_is_refused_in_one_short_line():
    names = [f"class {i}" for i in range(MANY)]
    other = [*names[:700], "other", *names[701:]]
    small = manifest()
    package = ModelPackage("models:/m/1", b"", small.image, small.spec, names, None)
    with pytest.raises(ModelError, match=r"number 700 \['class 700'\].*number 700 \['other'\]") as refused:
        check_dataset(package, replace(small, classes=other))
    assert len(str(refused.value)) < 300


JOB = """
import resource, sys, json
import convoy
config = convoy.load(overrides=json.loads(sys.argv[1]))
convoy.ingest(config)
trained = convoy.train(config)
found = convoy.evaluate(config)
scored = convoy.score(config)
kib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"mb": kib >> 10, **found.to_json(), "scored": scored.rows}))
"""


@pytest.mark.long
@pytest.mark.e2e
def test_2_000_classes_are_trained_evaluated_and_scored(tmp_path):
    fields = {
        "source.kind": "arrays",
        "source.path": arrays(tmp_path, 2_000),
        "dataset.root": str(tmp_path / "datasets"),
        "dataset.image.height": 8,
        "dataset.image.width": 8,
        "dataset.image.channels": 1,
        "model.name": "mlp",
        "training.num_workers": 0,
        "training.epochs": 3,
        "training.global_batch_size": 128,
        "training.checkpoint.folder": str(tmp_path / "checkpoints"),
        "tracking.uri": f"sqlite:///{tmp_path}/mlflow.db",
        "tracking.registered_model": "many",
        "scoring.input": "dataset:test",
        "scoring.output": str(tmp_path / "scores"),
        "spark.master": "local[2]",
    }
    done = subprocess.run(
        [sys.executable, "-c", JOB, json.dumps(fields)], cwd=tmp_path, capture_output=True, text=True, timeout=1700
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["scored"] == result["rows"] > 1_000
    assert result["accuracy"] > 0.2  # of 2,000 classes
    assert result["mb"] < 2_000
    mlflow.set_tracking_uri(fields["tracking.uri"])
    names = {file.path for file in mlflow.MlflowClient().list_artifacts(result["run_id"], "evaluation/test")}
    assert "evaluation/test/confusion_matrix.png" in names
    assert mlflow.MlflowClient().list_artifacts(result["run_id"], "report")
