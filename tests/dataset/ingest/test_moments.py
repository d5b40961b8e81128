"""Mean and variance put together from parts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from convoy.dataset.ingest.moments import exact_sums, merged, moments_of

finite = st.floats(-1e6, 1e6, width=32)


@given(st.lists(arrays(np.float32, st.tuples(st.integers(1, 4), st.just(3), st.just(2)), elements=finite), min_size=1))
def test_moments_are_numpys_however_samples_are_parted(parts):
    moments = merged(moments_of(part) for part in parts)
    everything = np.concatenate(parts).reshape(-1, 2).astype(np.float64)
    assert moments.count == len(everything)
    np.testing.assert_allclose(moments.mean, everything.mean(0), rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(moments.std(), everything.std(0), rtol=1e-9, atol=1e-6)


def test_a_large_mean_does_not_swallow_a_small_deviation():
    samples = 1e9 + np.random.default_rng(0).normal(0, 1e-2, (1000, 4, 1))
    moments = merged(moments_of(part) for part in np.array_split(samples, 7))
    np.testing.assert_allclose(moments.std(), samples.std(), rtol=1e-6)


def test_the_largest_values_that_are_stored_do_not_overflow():
    samples = np.full((2, 3, 1), np.finfo(np.float32).max)
    samples[0] *= -1
    moments = merged(map(moments_of, samples[:, None]))
    assert moments.mean == [0.0]
    np.testing.assert_allclose(moments.std(), np.finfo(np.float32).max)


@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=4).flatmap(
        lambda shape: arrays(np.uint8, tuple(shape), elements=st.integers(0, 255))
    )
)
def test_exact_sums_are_exact(samples):
    sums, squares = exact_sums(samples)
    flat = samples.reshape(-1, samples.shape[-1]).astype(object)
    assert sums.tolist() == flat.sum(0).tolist()
    assert squares.tolist() == (flat * flat).sum(0).tolist()


@pytest.mark.parametrize("shape", [(2, 70_000, 3, 1), (70_000, 2), (3, 1, 600_000, 1)])
def test_exact_sums_do_not_overflow(shape):
    sums, squares = exact_sums(np.full(shape, 255, np.uint8))
    assert sums.tolist() == [255 * np.prod(shape[:-1])] * shape[-1]
    assert squares.tolist() == [255**2 * np.prod(shape[:-1])] * shape[-1]
