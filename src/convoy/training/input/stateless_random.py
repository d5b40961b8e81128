"""Random numbers of samples: pure functions of (seed, epoch, sample, purpose), computed from vectors of counters.

A stateful generator gives a sample another number at another position in a batch, or on another rank. Here the numbers
are hashed from the sample's identity with SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
Generators", OOPSLA 2014) in three steps: the seed with the epoch, the result with the row, and that result with the
number's index. Outputs for different counters and the same seed always differ, so the numbers of two samples of an
epoch come from different seeds.

Only integer arithmetic, exact conversions and table look-ups are used. TensorFlow computes ``cos``, ``sin`` and ``pow``
differently in the last bits for the values at the end of a vector that do not fill a SIMD register: random values that
are computed with them depend on the position in the batch.
"""

from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

Tensor: TypeAlias = Any
"""A ``tf.Tensor``; TensorFlow has no type annotations."""

TABLE_SIZE = 2**16
"""Entries of the tables for ``table_index``."""


def sample_bits(seed: int, epoch: Tensor, rows: Tensor, count: int) -> Tensor:
    """Return ``count`` random numbers for each sample.

    Args:
        seed: Seed of the training, 0 or more; modulo 2**64.
        epoch: int64 scalar.
        rows: int64 (n,), the samples' numbers in the split.
        count: Numbers per sample; a larger count does not change the first ones.

    Returns:
        uint64 (n, count), uniform in [0, 2**64) and independent of each other.
    """
    stream = splitmix64(tf.constant(seed % 2**64, tf.uint64), tf.cast(epoch, tf.uint64))
    stream = splitmix64(stream, tf.cast(rows, tf.uint64))
    return splitmix64(stream[:, None], tf.cast(tf.range(count), tf.uint64)[None])


def splitmix64(seed: Tensor, counter: Tensor) -> Tensor:
    """Return output number ``counter`` (from 0) of the SplitMix64 generator with a seed; all uint64, broadcast."""
    z = seed + (counter + _u64(1)) * _u64(0x9E3779B97F4A7C15)
    z = (z ^ _shift(z, 30)) * _u64(0xBF58476D1CE4E5B9)
    z = (z ^ _shift(z, 27)) * _u64(0x94D049BB133111EB)
    return z ^ _shift(z, 31)


def unit(bits: Tensor) -> Tensor:
    """Return uniform float32 multiples of 2**-24 in [0, 1), from the upper bits of uint64."""
    return tf.cast(tf.cast(_shift(bits, 40), tf.int32), tf.float32) * np.float32(2**-24)


def below(bits: Tensor, limit: int) -> Tensor:
    """Return int32 in [0, limit), from the upper bits of uint64; the bias of a value is at most ``limit / 2**32``."""
    return tf.cast(_shift(_shift(bits, 32) * _u64(limit), 32), tf.int32)


def coin(bits: Tensor) -> Tensor:
    """Return bool, true for half of all uint64."""
    return tf.cast(_shift(bits, 63), tf.bool)


def table_index(bits: Tensor) -> Tensor:
    """Return int32 in [0, TABLE_SIZE), from the upper bits of uint64."""
    return below(bits, TABLE_SIZE)


def table_quantiles() -> np.ndarray:
    """Return the probabilities (float64) of the entries of a table: the midpoints of equal parts of (0, 1).

    With ``table[i] = quantile_function(table_quantiles()[i])`` the value ``table[table_index(bits)]`` follows the
    distribution: its distribution function is off by 2**-17 at most.
    """
    return (np.arange(TABLE_SIZE) + 0.5) / TABLE_SIZE


def _u64(value: int) -> Tensor:
    return tf.constant(value, tf.uint64)


def _shift(bits: Tensor, places: int) -> Tensor:
    return tf.bitwise.right_shift(bits, _u64(places))
