"""The population stability index, and when it is judged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.monitoring.drift import THRESHOLD, Drift, compare, contributions, rows_needed, text_of, warnings_of

HISTOGRAMS = st.integers(2, 30).flatmap(
    lambda bins: st.tuples(*[st.lists(st.integers(0, 100_000), min_size=bins, max_size=bins)] * 2)
)
TENS = [10_000] * 10


@given(HISTOGRAMS)
def test_it_is_symmetric_never_negative_and_zero_for_a_histogram_itself(pair):
    first, second = pair
    parts = contributions(first, second)
    assert np.isfinite(parts).all()
    assert (parts >= 0).all()
    np.testing.assert_allclose(parts, contributions(second, first), atol=1e-15)
    assert not contributions(first, first).any()


@given(HISTOGRAMS)
def test_bins_may_come_in_any_order(pair):
    first, second = pair
    order = np.random.default_rng(0).permutation(len(first))
    shuffled = contributions(np.take(first, order), np.take(second, order))
    np.testing.assert_allclose(shuffled, contributions(first, second)[order], atol=1e-15)


def test_golden():
    # A textbook scorecard: 0.0062 + 0.0139 + 0.0041 + 0.0811 + 0.0541 by hand, from shares.
    expected, actual = [0.10, 0.20, 0.40, 0.20, 0.10], [0.13, 0.26, 0.36, 0.10, 0.15]
    by_hand = sum((a - e) * np.log(a / e) for e, a in zip(expected, actual, strict=True))
    million = [[round(1e9 * share) for share in shares] for shares in (expected, actual)]
    assert by_hand == pytest.approx(0.11740, abs=5e-5)
    assert contributions(*million).sum() == pytest.approx(by_hand, abs=1e-7)


def test_an_empty_bin_counts_as_rare():
    assert contributions([0, 999], [0, 999]).sum() == 0
    assert 4 < contributions([0, 1000], [1000, 0]).sum() < 20
    found = compare([0, 60_000, 0], [0, 0, 500], ["smaller", "28", "larger"])
    assert found.drifted
    assert (found.most, found.before, found.after) == ("larger", 0.0, 1.0)


def test_few_rows_are_not_judged_nor_few_training_images():
    needed = rows_needed(sum(TENS), 10)
    assert needed == 140  # 27.877 of the chi-square table, over 0.2, and a little for the training images' own chance
    few, enough = [0] * 9 + [needed - 1], [0] * 9 + [needed]
    assert compare(TENS, few, [""] * 10).psi is None
    assert compare(TENS, few, [""] * 10).reason == "139 rows are too few, 140 needed"
    assert compare(TENS, enough, [""] * 10).drifted
    assert compare([10] * 10, enough, [""] * 10).reason == "100 training images are too few for 10 bins"
    assert rows_needed(0, 1) is None


@given(st.integers(0, 10**9), st.integers(2, 2_000))
def test_more_bins_need_more_rows_and_more_training_images_fewer(training, bins):
    here, wider, better = rows_needed(training, bins), rows_needed(training, bins + 1), rows_needed(training + 1, bins)
    assert wider is None or (here is not None and here <= wider)
    assert here is None or (better is not None and better <= here)


@pytest.mark.parametrize(("bins", "training"), [(2, 100_000), (10, 1_500), (100, 100_000)])
def test_chance_alone_seldom_drifts(bins, training):
    generator = np.random.default_rng(0)
    shares = generator.dirichlet(np.full(bins, 20.0))
    needed = rows_needed(training, bins)
    alarms = 0
    for _ in range(2_000):
        expected, actual = generator.multinomial(training, shares), generator.multinomial(needed, shares)
        alarms += compare(expected.tolist(), actual.tolist(), [""] * bins).drifted
    assert alarms <= 10  # 2 are expected


def test_what_people_read():
    drifts = {
        "class mix": Drift(500, 0.0123),
        "brightness": Drift(500, 0.31, "", "up to 33", 0.1, 0.644),
        "height": Drift(0, None, "no sizes"),
        "width": Drift(0, None, "no sizes"),
    }
    assert text_of(drifts) == (
        "population stability index: class mix 0.012, brightness 0.310; not judged: height, width (no sizes)"
    )
    assert warnings_of(drifts) == [
        "warning: brightness of the scored images differs from training: population stability index 0.31 (0.2 or more"
        " is a shift), most of it from 'up to 33': 10.0% in training, 64.4% now"
    ]
    assert drifts["brightness"].fields() == {"psi": 0.31, "rows": 500, "drifted": True}
    assert drifts["height"].fields() == {"psi": None, "rows": 0, "reason": "no sizes"}
    assert Drift(1, THRESHOLD).drifted
