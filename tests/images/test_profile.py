"""Brightness, and bins from quantiles."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from convoy.images import Bins, brightness, quantile_bins

COUNTS = st.dictionaries(st.integers(-5, 300), st.integers(0, 50), min_size=1).filter(lambda c: sum(c.values()) > 0)


@given(arrays(np.uint8, array_shapes(min_dims=4, max_dims=4, max_side=7)))
def test_brightness_is_the_mean_rounded_down(images):
    expected = [int(np.floor(image.astype(np.float64).sum() / image.size)) for image in images]
    assert brightness(images).tolist() == expected
    assert brightness(images[:0]).tolist() == []


@given(COUNTS, st.integers(1, 20))
def test_bins_hold_every_value_once_and_about_as_many_each(counts, wanted):
    bins = quantile_bins(counts, wanted)
    values = np.repeat(list(counts), list(counts.values()))
    assert bins.edges == sorted(set(bins.edges))
    assert bins.count(values).tolist() == bins.counts
    assert sum(bins.counts) == len(values)
    where = np.searchsorted(bins.edges, values)
    for index, count in enumerate(bins.counts):
        assert count * wanted < 2 * len(values) or len(set(values[where == index])) == 1


@given(COUNTS)
def test_labels_name_the_values_that_fall_into_their_bin(counts):
    bins = quantile_bins(counts)
    labels = bins.labels()
    assert len(labels) == len(bins.counts)
    for value in range(-10, 310):
        label = labels[int(bins.count(np.array([value])).argmax())]
        if label.startswith("up to "):
            assert value <= int(label.removeprefix("up to "))
        elif label.endswith(" or more"):
            assert value >= int(label.removesuffix(" or more"))
        elif " to " in label:
            first, last = map(int, label.split(" to "))
            assert first <= value <= last
        else:
            assert label in ("any", str(value))


def test_numbers_that_are_spread_evenly_make_deciles():
    bins = quantile_bins(dict.fromkeys(range(100), 3))
    assert bins == Bins([9, 19, 29, 39, 49, 59, 69, 79, 89], [30] * 10)
    assert bins.labels()[:2] + bins.labels()[-1:] == ["up to 9", "10 to 19", "90 or more"]


def test_images_of_one_size_leave_bins_for_smaller_and_larger_ones():
    assert quantile_bins({28: 60_000}) == Bins([27, 28], [0, 60_000, 0])
    assert quantile_bins({28: 5, 32: 5}).labels() == ["up to 27", "28", "29 to 31", "32", "33 or more"]
