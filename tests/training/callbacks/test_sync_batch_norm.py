"""Batch normalisation over ranks."""

import keras
import numpy as np

from convoy.training.callbacks.sync_batch_norm import SyncBatchNorm, average_statistics
from convoy.training.distributed.collective import SingleProcess


def network():
    image = keras.Input((2, 2, 3))
    x = keras.layers.BatchNormalization()(image)
    x = keras.layers.Dropout(0.5)(x)  # its seed is no float and stays this rank's
    x = keras.layers.BatchNormalization(axis=1, name="other")(x)
    return keras.Model(image, x)


def test_all_ranks_get_the_mean_of_their_statistics_and_keep_the_rest(on_ranks):
    def average(rank):
        model = network()
        model.set_weights([np.full(w.shape, 10 * i + rank.rank, np.float32) for i, w in enumerate(model.weights)])
        average_statistics(model, rank)
        return [float(weight.numpy().ravel()[0]) for weight in model.weights], model.get_weights()

    means, ranks = [], on_ranks(3, average)
    for rank, (values, _) in enumerate(ranks):
        for i, (value, weight) in enumerate(zip(values, network().weights, strict=True)):
            assert value == (10 * i + rank if weight.trainable else 10 * i + 1)
        means.append([value for value, weight in zip(values, network().weights, strict=True) if not weight.trainable])
    assert means[0] == means[1] == means[2]
    assert len(means[0]) == 4
    for _, weights in ranks:
        assert all((weight == weight.ravel()[0]).all() for weight in weights)


def test_statistics_are_averaged_before_validation(on_ranks):
    def evaluate(rank):
        model = network()
        model.compile("sgd", "mse")
        model.layers[1].moving_mean.assign([rank.rank] * 3)
        model.evaluate(np.zeros((2, 2, 2, 3)), np.zeros((2, 2, 2, 3)), callbacks=[SyncBatchNorm(rank)], verbose=0)
        return model.layers[1].moving_mean.numpy().tolist()

    assert on_ranks(2, evaluate) == [[0.5] * 3] * 2


def test_one_rank_keeps_its_own():
    model = network()
    before = model.get_weights()
    average_statistics(model, SingleProcess())
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
