"""Who sees which sample when: the invariants that make training independent of the number of ranks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.dataset.plan import epoch_order, gradient_weight, rank_batches, rank_slice, steps_per_epoch

row_counts, batch_sizes, world_sizes = st.integers(1, 300), st.integers(1, 64), st.integers(1, 9)
seeds, epochs = st.integers(0, 2**32), st.integers(0, 1000)


def batches_of_all(order, batch, ranks):
    """[step][rank] -> samples."""
    return list(zip(*(rank_batches(order, batch, rank, ranks) for rank in range(ranks)), strict=True))


@given(row_counts, batch_sizes, world_sizes, seeds, epochs)
def test_each_sample_is_used_exactly_once_an_epoch(rows, batch, ranks, seed, epoch):
    steps = batches_of_all(epoch_order(rows, seed, epoch), batch, ranks)
    used = np.concatenate([part for step in steps for part in step])
    assert sorted(used) == list(range(rows))


@given(row_counts, batch_sizes, world_sizes, seeds)
def test_any_number_of_ranks_sees_the_same_global_batches_in_the_same_order(rows, batch, ranks, seed):
    order = epoch_order(rows, seed, 0)
    together = [np.concatenate(step) for step in batches_of_all(order, batch, ranks)]
    alone = rank_batches(order, batch, 0, 1)
    assert len(together) == len(alone) == steps_per_epoch(rows, batch)
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
    assert [len(b) for b in alone[:-1]] == [batch] * (len(alone) - 1)


@given(batch_sizes, world_sizes)
def test_ranks_share_a_batch_evenly(batch, ranks):
    sizes = [len(range(batch)[rank_slice(batch, rank, ranks)]) for rank in range(ranks)]
    assert sum(sizes) == batch
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(20, 300), seeds, epochs)
def test_order_depends_on_seed_and_epoch_alone(rows, seed, epoch):
    order = epoch_order(rows, seed, epoch)
    assert np.array_equal(order, epoch_order(rows, seed, epoch))
    assert not np.array_equal(order, epoch_order(rows, seed, epoch + 1))
    assert not np.array_equal(order, epoch_order(rows, seed + 1, epoch))


def test_order_is_the_same_on_every_machine_and_in_every_version():
    assert epoch_order(10, seed=1, epoch=2).tolist() == [8, 5, 6, 0, 9, 1, 4, 3, 7, 2]


@given(row_counts, batch_sizes, world_sizes, seeds)
def test_weighted_average_over_ranks_is_the_mean_over_samples(rows, batch, ranks, seed):
    gradients = np.random.default_rng(seed).normal(size=(rows, 3))
    for step, parts in enumerate(batches_of_all(epoch_order(rows, seed, 0), batch, ranks)):
        of_ranks = [
            gradient_weight(rows, batch, step, rank, ranks) * (gradients[part].mean(axis=0) if len(part) else 0)
            for rank, part in enumerate(parts)
        ]
        expected = gradients[np.concatenate(parts)].mean(axis=0)
        np.testing.assert_allclose(np.mean(np.broadcast_arrays(*of_ranks, expected)[:-1], axis=0), expected, atol=1e-12)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_equal_parts_need_no_weight(ranks):
    assert {gradient_weight(64, 32, step, rank, ranks) for step in (0, 1) for rank in range(ranks)} == {1.0}
