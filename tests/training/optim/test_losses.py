"""Cross-entropy and accuracy of class numbers and of probabilities."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convoy.training.optim.losses import accuracy, crossentropy

RNG = np.random.default_rng(0)
PROBABILITIES = RNG.dirichlet(np.ones(4), 6).astype(np.float32)
LABELS = RNG.integers(0, 4, 6).astype(np.int32)
SOFT = RNG.dirichlet(np.ones(4), 6).astype(np.float32)


@settings(max_examples=20)
@given(st.floats(0, 0.99))
def test_is_the_cross_entropy_with_the_smoothed_labels(smoothing):
    for labels, target in ((LABELS, np.eye(4)[LABELS]), (SOFT, SOFT), (np.eye(4, dtype=np.float32)[LABELS], None)):
        target = np.eye(4)[LABELS] if target is None else target
        smoothed = (1 - smoothing) * target + smoothing / 4
        expected = -(smoothed * np.log(PROBABILITIES.astype(np.float64))).sum(axis=1)
        np.testing.assert_allclose(crossentropy(smoothing)(labels, PROBABILITIES), expected, rtol=1e-5)


def test_accuracy_takes_both_kinds_of_labels():
    best = PROBABILITIES.argmax(axis=1)
    np.testing.assert_array_equal(accuracy(LABELS, PROBABILITIES), best == LABELS)
    np.testing.assert_array_equal(accuracy(SOFT, PROBABILITIES), best == SOFT.argmax(axis=1))


def compiled(loss, metric):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Activation("linear")])
    model.compile("sgd", loss, metrics=[metric])
    return model


@pytest.mark.parametrize("weights", [None, np.array([0, 1, 2, 3, 0.5, 1], np.float32)])
def test_without_smoothing_it_is_keras_own_bit_by_bit_weights_included(weights):
    arguments = {"sample_weight": weights, "batch_size": 4, "verbose": 0, "return_dict": True}
    ours = compiled(crossentropy(), accuracy).evaluate(PROBABILITIES, LABELS, **arguments)
    keras_own = compiled("sparse_categorical_crossentropy", "accuracy").evaluate(PROBABILITIES, LABELS, **arguments)
    assert ours == keras_own


def test_sample_weights_count_with_smoothing_and_soft_labels():
    weights = np.array([0, 1, 2, 3, 0.5, 1], np.float32)
    model = compiled(crossentropy(0.1), accuracy)
    for labels in (LABELS, SOFT):
        losses = crossentropy(0.1)(labels, PROBABILITIES).numpy()
        result = model.evaluate(PROBABILITIES, labels, sample_weight=weights, verbose=0, return_dict=True)
        assert result["loss"] == pytest.approx((losses * weights).mean(), rel=1e-5)
