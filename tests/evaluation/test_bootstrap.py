"""Intervals of the bootstrap: they cover what they should, and are those of drawing rows."""

import numpy as np
import pytest

from convoy.evaluation.bootstrap import bootstrap
from convoy.evaluation.metrics import PER_CLASS, Outcomes, evaluate, overall_names

CLASSES, TOP_K = 3, 2


def outcomes_of(labels, probabilities):
    of_true = probabilities[np.arange(len(labels)), labels]
    ranks = (probabilities > of_true[:, None]).sum(axis=1)
    return Outcomes(labels, probabilities.argmax(axis=1), ranks, of_true, probabilities.max(axis=1))


def drawn_samples(rows, seed):
    """A model that is too sure of itself: labels come from the square roots of its probabilities."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet([0.4, 0.3, 0.2], rows)
    true = np.sqrt(probabilities)
    edges = (true / true.sum(axis=1, keepdims=True)).cumsum(axis=1)
    labels = (generator.random(rows)[:, None] > edges[:, :-1]).sum(axis=1)
    return outcomes_of(labels, probabilities)


def rows_of(outcomes, index):
    return Outcomes(**{name: values[index] for name, values in vars(outcomes).items()})


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    truth = evaluate(drawn_samples(400_000, 1), CLASSES, TOP_K)
    trials, covered = 150, dict.fromkeys([*overall_names(TOP_K), *PER_CLASS], 0)
    for seed in range(trials):
        found = bootstrap(drawn_samples(400, 100 + seed), CLASSES, TOP_K, 200)
        for name, value in truth.overall().items():
            low, high = found.overall[name]
            covered[name] += low <= value <= high
        for name in PER_CLASS:
            low, high = found.per_class[name][:, 0]
            covered[name] += low <= getattr(truth, name)[0] <= high
    # The lowest recall of a class is biased downwards, as every minimum of estimates.
    biased = covered.pop("min_recall")
    assert biased / trials > 0.8
    for name, count in covered.items():
        assert 0.88 <= count / trials <= 0.995, (name, count / trials)


@pytest.mark.parametrize("rows", [300, 12_000])  # each row for itself; neighbouring losses together
def test_intervals_are_those_of_rows_drawn_with_replacement(rows):
    outcomes = drawn_samples(rows, 2)
    found = bootstrap(outcomes, CLASSES, TOP_K, 1000)
    generator = np.random.default_rng(3)
    drawn = [evaluate(rows_of(outcomes, generator.integers(0, rows, rows)), CLASSES, TOP_K) for _ in range(600)]
    for name in overall_names(TOP_K):
        values = np.array([each.overall()[name] for each in drawn])
        expected = np.quantile(values, [0.025, 0.975])
        assert found.overall[name] == pytest.approx(expected, abs=0.5 * values.std()), name
    for name in PER_CLASS:
        values = np.array([getattr(each, name) for each in drawn])
        expected = np.quantile(values, [0.025, 0.975], axis=0)
        assert (np.abs(found.per_class[name] - expected) < 0.5 * values.std(axis=0)).all(), name


def test_the_order_of_rows_does_not_matter():
    outcomes = drawn_samples(500, 4)
    shuffled = rows_of(outcomes, np.random.default_rng(5).permutation(500))
    one, other = (bootstrap(each, CLASSES, TOP_K, 50) for each in (outcomes, shuffled))
    for name in one.overall:
        assert one.overall[name] == pytest.approx(other.overall[name])
    assert all(np.array_equal(one.per_class[name], other.per_class[name]) for name in PER_CLASS)


def test_what_is_always_right_has_no_width_and_absent_classes_are_zero():
    found = bootstrap(outcomes_of(np.array([0, 1] * 30), np.tile(np.eye(3)[:2], (30, 1))), 3, 1, 100)
    assert found.overall["accuracy"] == found.overall["min_recall"] == (1, 1)
    assert found.overall["log_loss"] == found.overall["expected_calibration_error"] == (0, 0)
    assert found.per_class["f1"].tolist() == [[1, 1, 0], [1, 1, 0]]


def test_one_row_is_enough():
    found = bootstrap(outcomes_of(np.array([1]), np.array([[0.6, 0.3, 0.1]])), 3, 2, 10)
    assert found.overall["accuracy"] == (0, 0)
    assert found.overall["top2_accuracy"] == (1, 1)
