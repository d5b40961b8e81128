"""McNemar's exact test, beside the sum of binomial coefficients in whole numbers."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.evaluation.mcnemar import mcnemar


def disagreeing(lost, won, both=3, neither=2):
    new = np.repeat([False, True, True, False], [lost, won, both, neither])
    other = np.repeat([True, False, True, False], [lost, won, both, neither])
    return mcnemar(new, other)


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 5), st.integers(0, 5))
def test_the_probability_is_the_binomial_ones_upper_tail(lost, won, both, neither):
    found = disagreeing(lost, won, both, neither)
    assert (found.lost, found.won) == (lost, won)
    trials = lost + won
    expected = sum(comb(trials, k) for k in range(lost, trials + 1)) / 2**trials
    assert found.p_value == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_of_many_samples_it_is_exact_still():
    assert disagreeing(5_100, 4_900).p_value == pytest.approx(0.023292763852473693, rel=1e-9)
    assert disagreeing(50_300, 49_700).p_value == pytest.approx(0.02909867655, rel=1e-8)


@pytest.mark.parametrize(
    ("lost", "won", "worse"),
    [(0, 0, False), (4, 0, False), (5, 0, True), (10, 10, False), (0, 50, False), (16, 5, True)],
)
def test_worse_is_only_what_chance_hardly_explains(lost, won, worse):
    """Five of five are lost by chance once in 32 times, four of four once in 16."""
    assert disagreeing(lost, won).worse is worse
