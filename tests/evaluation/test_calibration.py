"""Calibration errors, beside what can be computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.evaluation.calibration import reliability


def test_the_golden_example():
    """Ten bins: three samples near 0.95, of which two are right; two near 0.65, one right; five at 0.35, two right."""
    confidence = np.array([0.95, 0.95, 0.98, 0.62, 0.68, 0.35, 0.35, 0.35, 0.35, 0.35])
    correct = np.array([1, 1, 0, 1, 0, 1, 1, 0, 0, 0], bool)
    found = reliability(confidence, correct, bins=10)
    assert found.counts.tolist() == [0, 0, 0, 5, 0, 0, 2, 0, 0, 3]
    gaps = {9: 0.96 - 2 / 3, 6: 0.65 - 0.5, 3: 0.4 - 0.35}
    for m, gap in gaps.items():
        assert abs(found.accuracy[m] - found.confidence[m]) == pytest.approx(gap)
    assert found.expected_error == pytest.approx(0.3 * gaps[9] + 0.2 * gaps[6] + 0.5 * gaps[3])
    assert found.largest_error == pytest.approx(gaps[9])


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    assert reliability(np.array([0.0, 0.5, 1.0]), np.ones(3, bool), bins=2).counts.tolist() == [2, 1]


def test_the_expected_error_of_one_who_is_always_sure_is_the_share_of_errors():
    found = reliability(np.ones(8), np.arange(8) < 6)
    assert found.expected_error == pytest.approx(0.25)
    assert found.counts[-1] == 8


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=40), st.integers(1, 20))
def test_every_sample_is_in_the_bin_of_its_confidence(samples, bins):
    confidence, correct = (np.array(values) for values in zip(*samples, strict=True))
    found = reliability(confidence, correct, bins)
    assert found.counts.sum() == len(samples)
    assert 0 <= found.expected_error <= found.largest_error + 1e-12 <= 1 + 1e-9
    filled = found.counts > 0
    assert (found.confidence[filled] >= found.edges[:-1][filled] - 1e-9).all()
    assert (found.confidence[filled] <= found.edges[1:][filled] + 1e-9).all()
    # Within one bin, errors can only cancel: fewer bins never show more of them.
    overall = abs(confidence.mean() - correct.mean())
    assert found.expected_error >= overall - 1e-6
