"""Several steps make one update: that of all their samples."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from convoy.config import OptimizerConfig
from convoy.dataset.reading.epoch_plan import rank_shares, steps_per_epoch
from convoy.training.optim.accumulation import accumulated_weight, ends_update, updates_per_epoch
from convoy.training.optim.optimizer import build_optimizer, distribute


@given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 6), st.integers(1, 5))
def test_an_epochs_updates_are_the_means_over_their_samples(rows, batch, steps, ranks):
    values = np.random.default_rng(0).normal(size=rows)
    shares = [list(rank_shares(rows, batch, rank, ranks)) for rank in range(ranks)]
    updates, total = [], 0.0
    for step in range(steps_per_epoch(rows, batch)):
        for rank in range(ranks):
            own = values[shares[rank][step].own]
            weight = accumulated_weight(rows, batch, steps, step, rank, ranks)
            total += weight * (own.mean() if len(own) else 0) / ranks
        if ends_update(rows, batch, steps, step):
            updates.append(total)
            total = 0.0
    assert len(updates) == updates_per_epoch(rows, batch, steps)
    large = batch * steps
    np.testing.assert_allclose(updates, [values[i : i + large].mean() for i in range(0, rows, large)], atol=1e-12)


@pytest.mark.parametrize(
    "config",
    [
        OptimizerConfig("adamw", weight_decay=0.1, clip_norm=0.5, ema_momentum=0.9),
        OptimizerConfig("nesterov", clip_value=0.1),
    ],
)
@pytest.mark.parametrize("scale_loss", [False, True])
def test_two_ranks_in_small_steps_update_as_one_with_the_large_batch(on_ranks, config, scale_loss):
    rows, batch, steps, epochs = 29, 4, 3, 2
    samples = np.random.default_rng(0).normal(size=(rows, 5)).astype(np.float32)

    def descend(rank, batch, steps):
        variable = keras.Variable(np.ones(5, np.float32), name="x")
        optimizer = distribute(build_optimizer(config, scale_loss=scale_loss), rank, steps)
        optimizer.build([variable])
        apply = tf.function(lambda gradient: optimizer.apply([gradient * optimizer.scale_loss(1.0)], [variable]))
        for _ in range(epochs):
            for step, share in enumerate(rank_shares(rows, batch, rank.rank, rank.size)):
                optimizer.gradient_weight.assign(accumulated_weight(rows, batch, steps, step, rank.rank, rank.size))
                optimizer.updates.assign(ends_update(rows, batch, steps, step))
                # A borrowed sample's gradient may be anything.
                gradient = samples[share.own].mean(axis=0) if len(share.own) else np.full(5, np.nan, np.float32)
                apply(tf.constant(gradient))
        return [variable.numpy(), *(v.numpy() for v in getattr(optimizer, "inner_optimizer", optimizer).variables)]

    (expected,) = on_ranks(1, lambda rank: descend(rank, batch * steps, 1))
    assert expected[1] == updates_per_epoch(rows, batch, steps) * epochs
    for result in on_ranks(2, lambda rank: descend(rank, batch, steps)):
        for ours, theirs in zip(result, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-6)
