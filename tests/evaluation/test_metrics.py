"""Metrics agree with scikit-learn's."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from convoy.evaluation.calibration import reliability
from convoy.evaluation.metrics import Outcomes, evaluate, overall_names


def evaluate_probabilities(labels, probabilities, top_k):
    of_true = probabilities[np.arange(len(labels)), labels]
    ranks = (probabilities > of_true[:, None]).sum(axis=1)
    outcomes = Outcomes(labels, probabilities.argmax(axis=1), ranks, of_true, probabilities.max(axis=1))
    return evaluate(outcomes, probabilities.shape[1], top_k)


@given(st.integers(1, 200), st.integers(3, 12), st.data())
def test_metrics_equal_scikit_learns(rows, classes, data):
    generator = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    present = data.draw(st.integers(1, classes))  # some classes have no samples
    labels, names = generator.integers(0, present, rows), np.arange(classes)
    probabilities = generator.dirichlet(np.full(classes, 0.5), rows) * 0.999 + 0.001 / classes
    top_k = data.draw(st.integers(1, classes - 1))
    result = evaluate_probabilities(labels, probabilities, top_k)
    predictions = probabilities.argmax(axis=1)
    per_class = sklearn.metrics.precision_recall_fscore_support(labels, predictions, labels=names, zero_division=0)
    for ours, theirs in zip((result.precision, result.recall, result.f1, result.support), per_class, strict=True):
        np.testing.assert_allclose(ours, theirs)
    assert np.array_equal(result.confusion, sklearn.metrics.confusion_matrix(labels, predictions, labels=names))
    assert result.accuracy == pytest.approx(sklearn.metrics.accuracy_score(labels, predictions))
    assert result.log_loss == pytest.approx(sklearn.metrics.log_loss(labels, probabilities, labels=names))
    expected = sklearn.metrics.top_k_accuracy_score(labels, probabilities, k=top_k, labels=names)
    assert result.top_k_accuracy == pytest.approx(expected)
    assert (result.rows, result.top_k) == (rows, top_k)
    macro = sklearn.metrics.precision_recall_fscore_support(
        labels, predictions, labels=names, average="macro", zero_division=0
    )
    overall = result.overall()
    assert [overall[f"macro_{name}"] for name in ("precision", "recall", "f1")] == pytest.approx(macro[:3])
    assert list(overall) == overall_names(top_k)
    calibration = reliability(probabilities.max(axis=1), predictions == labels).expected_error
    assert overall["expected_calibration_error"] == calibration
    assert overall["min_recall"] == pytest.approx(per_class[1][per_class[3] > 0].min())


@given(st.integers(1, 50), st.integers(2, 6), st.integers(0, 1000))
def test_order_of_rows_does_not_matter(rows, classes, seed):
    generator = np.random.default_rng(seed)
    labels, probabilities = generator.integers(0, classes, rows), generator.dirichlet(np.ones(classes), rows)
    order = generator.permutation(rows)
    one = evaluate_probabilities(labels, probabilities, 1)
    other = evaluate_probabilities(labels[order], probabilities[order], 1)
    assert np.array_equal(one.confusion, other.confusion)
    assert one.log_loss == pytest.approx(other.log_loss)


def test_certain_and_wrong_is_very_bad_but_finite():
    result = evaluate_probabilities(np.array([1]), np.array([[1, 0]], np.float32), 2)
    assert 80 < result.log_loss < np.inf
    assert (result.accuracy, result.top_k_accuracy) == (0, 1)


def test_more_classes_asked_for_than_there_are_is_always_right():
    assert evaluate_probabilities(np.array([0, 1]), np.eye(2)[::-1], 5).top_k_accuracy == 1
