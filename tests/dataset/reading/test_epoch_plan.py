"""Who sees which sample when: the invariants that make training independent of the number of ranks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.dataset.reading.epoch_plan import (
    balanced_samples,
    epoch_order,
    gradient_weight,
    mixing_partners,
    rank_shares,
    rank_slice,
    steps_per_epoch,
    stored_order,
)

row_counts, batch_sizes, world_sizes = st.integers(1, 300), st.integers(1, 64), st.integers(1, 9)
row_groups = st.lists(st.integers(1, 40), min_size=1, max_size=12)
window_sizes = st.none() | st.integers(1, 200)
seeds, epochs = st.integers(0, 2**32), st.integers(0, 1000)


def batches_of(order, batch, rank, ranks):
    """[step] -> samples of a rank."""
    return [order[share.own] for share in rank_shares(len(order), batch, rank, ranks)]


def batches_of_all(order, batch, ranks):
    """[step][rank] -> samples."""
    return list(zip(*(batches_of(order, batch, rank, ranks) for rank in range(ranks)), strict=True))


@given(row_counts, batch_sizes, world_sizes, seeds, epochs)
def test_each_sample_is_used_exactly_once_an_epoch(rows, batch, ranks, seed, epoch):
    steps = batches_of_all(epoch_order([rows], seed, epoch).order, batch, ranks)
    used = np.concatenate([part for step in steps for part in step])
    assert sorted(used) == list(range(rows))


@given(row_counts, batch_sizes, world_sizes, seeds)
def test_any_number_of_ranks_sees_the_same_global_batches_in_the_same_order(rows, batch, ranks, seed):
    order = epoch_order([rows], seed, 0).order
    together = [np.concatenate(step) for step in batches_of_all(order, batch, ranks)]
    alone = batches_of(order, batch, 0, 1)
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
    order = epoch_order([rows], seed, epoch).order
    assert np.array_equal(order, epoch_order([rows], seed, epoch).order)
    assert not np.array_equal(order, epoch_order([rows], seed, epoch + 1).order)
    assert not np.array_equal(order, epoch_order([rows], seed + 1, epoch).order)


def test_order_is_the_same_on_every_machine_and_in_every_version():
    assert epoch_order([4, 6], seed=1, epoch=2).order.tolist() == [8, 5, 6, 0, 9, 1, 4, 3, 7, 2]
    windows = epoch_order([3, 3, 3], seed=1, epoch=2, window_rows=4, labels=np.array([0, 1, 0] * 3))
    assert windows.order.tolist() == [5, 4, 4, 0, 1, 1, 3, 2, 7, 7, 6, 8]
    assert mixing_partners(np.arange(5), seed=1, epoch=2, step=3).tolist() == [3, 4, 0, 1, 2]


@given(row_counts, batch_sizes, world_sizes, seeds)
def test_weighted_average_over_ranks_is_the_mean_over_samples(rows, batch, ranks, seed):
    gradients = np.random.default_rng(seed).normal(size=(rows, 3))
    for step, parts in enumerate(batches_of_all(epoch_order([rows], seed, 0).order, batch, ranks)):
        of_ranks = [
            gradient_weight(rows, batch, step, rank, ranks) * (gradients[part].mean(axis=0) if len(part) else 0)
            for rank, part in enumerate(parts)
        ]
        expected = gradients[np.concatenate(parts)].mean(axis=0)
        np.testing.assert_allclose(np.mean(np.broadcast_arrays(*of_ranks, expected)[:-1], axis=0), expected, atol=1e-12)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_equal_parts_need_no_weight(ranks):
    assert {gradient_weight(64, 32, step, rank, ranks) for step in (0, 1) for rank in range(ranks)} == {1.0}


@given(row_groups, window_sizes, seeds, epochs)
def test_each_sample_comes_once_in_the_window_of_its_row_group(groups, window, seed, epoch):
    plan = epoch_order(groups, seed, epoch, window)
    assert plan.order.dtype == np.int64
    assert sorted(plan.order) == list(range(sum(groups)))
    assert sorted(np.concatenate(plan.window_groups)) == list(range(len(groups)))
    assert plan.window_ends[-1] == len(plan.order)
    group_of = np.repeat(np.arange(len(groups)), groups)
    for samples, members in zip(np.split(plan.order, plan.window_ends[:-1]), plan.window_groups, strict=True):
        assert set(group_of[samples]) == set(members)


@given(row_groups, st.integers(1, 200), seeds)
def test_windows_have_the_size_that_was_asked_for_and_no_row_group_more(groups, window, seed):
    plan = epoch_order(groups, seed, 0, window)
    for number, members in enumerate(plan.window_groups, 1):
        rows = [groups[member] for member in members]
        assert sum(rows) >= window or number == len(plan.window_groups)
        assert sum(rows[:-1]) < window


@given(st.lists(st.integers(1, 9), min_size=8, max_size=12), st.integers(0, 99))
def test_row_groups_and_samples_change_places_every_epoch(groups, seed):
    first, second = (epoch_order(groups, seed, epoch, window_rows=1) for epoch in (0, 1))
    assert [g.tolist() for g in first.window_groups] != [g.tolist() for g in second.window_groups]
    whole = epoch_order([200, 200], seed, 0, window_rows=200)
    assert all(np.any(np.diff(part) < 0) for part in np.split(whole.order, whole.window_ends[:-1]))


@given(row_groups, st.integers(1, 6), window_sizes, seeds, epochs)
def test_oversampling_gives_all_classes_as_many_samples_as_the_largest(groups, classes, window, seed, epoch):
    labels = np.random.default_rng(seed).integers(0, classes, sum(groups))
    counts = np.bincount(labels)
    plan, plain = epoch_order(groups, seed, epoch, window, labels), epoch_order(groups, seed, epoch, window)
    assert set(np.bincount(labels[plan.order])) - {0} == {counts.max()}
    assert len(plan.order) == balanced_samples(counts.tolist()) == plan.window_ends[-1]
    copies = np.bincount(plan.order, minlength=len(labels))
    for label in np.unique(labels):  # floor times each, and some of them once more
        of_class = copies[labels == label]
        assert of_class.min() == counts.max() // counts[label]
        assert of_class.max() - of_class.min() <= 1
    for got, expected in zip(plan.window_groups, plain.window_groups, strict=True):
        assert np.array_equal(got, expected)
    group_of = np.repeat(np.arange(len(groups)), groups)
    for samples, members in zip(np.split(plan.order, plan.window_ends[:-1]), plan.window_groups, strict=True):
        assert set(group_of[samples]) == set(members)


def test_oversampling_repeats_other_samples_in_other_epochs():
    labels = np.array([0] * 15 + [1] * 10)
    repeated = {tuple(np.flatnonzero(np.bincount(epoch_order([25], 0, e, labels=labels).order) > 1)) for e in range(4)}
    assert len(repeated) == 4
    assert all(len(rows) == 5 and min(rows) >= 15 for rows in repeated)


@given(row_groups, st.integers(1, 200))
def test_stored_order_is_stored_order(groups, window):
    plan = stored_order(groups, window)
    assert plan.order.tolist() == list(range(sum(groups)))
    assert np.concatenate(plan.window_groups).tolist() == list(range(len(groups)))
    assert set(plan.window_ends) <= set(np.cumsum(groups))
    assert plan.window_ends[-1] == len(plan.order)


@given(row_counts, seeds, epochs, st.integers(0, 100))
def test_each_sample_of_a_batch_mixes_with_another_and_is_the_partner_of_one(size, seed, epoch, step):
    rows = np.random.default_rng(seed).permutation(1000)[:size]
    partners = mixing_partners(rows, seed, epoch, step)
    assert sorted(partners) == sorted(rows)
    assert size == 1 or (partners != rows).all()


@given(row_counts, batch_sizes, world_sizes, seeds, epochs)
def test_shares_of_all_ranks_make_up_those_of_one(rows, batch, ranks, seed, epoch):
    alone = list(rank_shares(rows, batch, 0, 1, mixing=(seed, epoch)))
    together = list(zip(*(rank_shares(rows, batch, r, ranks, mixing=(seed, epoch)) for r in range(ranks)), strict=True))
    assert len(alone) == len(together) == steps_per_epoch(rows, batch)
    for step, (share, parts) in enumerate(zip(alone, together, strict=True)):
        assert np.array_equal(np.concatenate([part.own for part in parts]), share.own)
        assert np.array_equal(np.concatenate([part.partners for part in parts]), share.partners)
        assert np.array_equal(share.partners, mixing_partners(share.own, seed, epoch, step))
        assert {(part.start, part.stop) for part in parts} == {(share.start, share.stop)}
    middle = len(alone) // 2
    later = list(rank_shares(rows, batch, 0, 1, middle, (seed, epoch)))
    assert len(later) == len(alone) - middle
    for share, other in zip(alone[middle:], later, strict=True):
        assert np.array_equal(share.partners, other.partners)
        assert (share.start, share.stop) == (other.start, other.stop)
