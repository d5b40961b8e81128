"""A sample's random numbers: the published generator, uniform, and independent along every axis."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from convoy.training.input.stateless_random import (
    TABLE_SIZE,
    below,
    coin,
    sample_bits,
    splitmix64,
    table_index,
    table_quantiles,
    unit,
)

ROWS = 20_000
U64 = st.integers(0, 2**64 - 1)


def uniform(seed=0, epoch=0, rows=ROWS, count=8):
    return unit(sample_bits(seed, tf.constant(epoch, tf.int64), tf.range(rows, dtype=tf.int64), count)).numpy()


def as_u64(*values):
    return tf.constant(np.array(values, np.uint64))


def test_the_generator_gives_its_published_outputs():
    # The reference implementation's first outputs (prng.di.unimi.it/splitmix64.c) for the seed 1234567.
    assert splitmix64(as_u64(1234567), as_u64(*range(5))).numpy().tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(U64, U64)
def test_the_generator_computes_modulo_2_to_the_64(seed, counter):
    mask = 2**64 - 1
    z = (seed + (counter + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    assert int(splitmix64(as_u64(seed), as_u64(counter))[0]) == z ^ (z >> 31)


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
@pytest.mark.parametrize("epoch", [0, 1, 1000])
def test_draws_are_uniform(seed, epoch):
    draws = uniform(seed, epoch)
    for column in draws.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-5
        for power in (1, 2, 3, 4):  # moments, within five standard errors
            error = np.sqrt((1 / (2 * power + 1) - 1 / (power + 1) ** 2) / ROWS)
            assert abs(np.mean(column**power) - 1 / (power + 1)) < 5 * error


def neighbours():
    """Pairs of draws whose names differ by one: in the row, the epoch, the seed, the purpose, or two at once."""
    base = uniform(3, 5)
    return {
        "row": (base[:-1, 0], base[1:, 0]),
        "row by 64": (base[:-64, 0], base[64:, 0]),
        "epoch": (base[:, 0], uniform(3, 6)[:, 0]),
        "seed": (base[:, 0], uniform(4, 5)[:, 0]),
        "purpose": (base[:, 0], base[:, 1]),
        "seed and epoch": (base[:, 0], uniform(5, 3)[:, 0]),
        "row and epoch": (base[1:, 0], uniform(3, 6)[:-1, 0]),
        "row and purpose": (base[1:, 0], base[:-1, 1]),
    }


@pytest.mark.parametrize(("name", "pair"), neighbours().items(), ids=lambda value: value if type(value) is str else "")
def test_neighbouring_draws_are_independent(name, pair):
    a, b = pair
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(len(a))
    # Any dependence, not only a linear one: pairs fall evenly into 16 x 16 cells.
    cells = np.bincount((a * 16).astype(int) * 16 + (b * 16).astype(int), minlength=256)
    assert stats.chisquare(cells).pvalue > 1e-5
    assert (a == b).mean() < 1e-3


def test_every_bit_of_the_name_changes_half_of_the_bits():
    def bits(seed, epoch, row):
        return sample_bits(seed, tf.constant(epoch, tf.int64), tf.constant([row], tf.int64), 64).numpy()[0]

    base = bits(11, 22, 33)
    for place in (0, 1, 7, 31, 40):
        for other in (bits(11 ^ 1 << place, 22, 33), bits(11, 22 ^ 1 << place, 33), bits(11, 22, 33 ^ 1 << place)):
            changed = np.unpackbits((base ^ other).view(np.uint8)).mean()
            assert abs(changed - 0.5) < 5 * 0.5 / 64  # of 64 x 64 bits


def test_more_draws_do_not_change_the_first_ones():
    assert np.array_equal(uniform(count=16)[:, :8], uniform(count=8))


@given(st.lists(U64, min_size=1, max_size=20), st.integers(1, 1000))
def test_numbers_stay_in_their_ranges(values, limit):
    bits = as_u64(0, 2**64 - 1, *values)
    share, whole = unit(bits).numpy(), below(bits, limit).numpy()
    assert share[0] == 0
    assert share[1] == np.float32(1 - 2**-24)
    assert ((share >= 0) & (share < 1)).all()
    assert whole.tolist() == [(int(value) >> 32) * limit >> 32 for value in bits.numpy()]
    assert coin(bits).numpy().tolist() == [int(value) >= 2**63 for value in bits.numpy()]
    assert table_index(bits).numpy()[:2].tolist() == [0, TABLE_SIZE - 1]


def test_whole_numbers_and_coins_are_even():
    bits = sample_bits(1, tf.constant(0, tf.int64), tf.range(ROWS, dtype=tf.int64), 2)
    assert stats.chisquare(np.bincount(below(bits[:, 0], 9).numpy(), minlength=9)).pvalue > 1e-5
    assert stats.binomtest(int(coin(bits[:, 1]).numpy().sum()), ROWS).pvalue > 1e-5


def test_a_table_of_quantiles_follows_its_distribution():
    table = stats.norm.ppf(table_quantiles())
    index = table_index(sample_bits(1, tf.constant(0, tf.int64), tf.range(ROWS, dtype=tf.int64), 1)[:, 0])
    assert stats.kstest(table[index.numpy()], "norm").pvalue > 1e-5
