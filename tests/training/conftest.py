"""Ranks as threads of one process: the arithmetic of several ranks without Horovod."""

import threading

import numpy as np
import pytest
import tensorflow as tf

import tests.threads  # noqa: F401
from convoy.config import DatasetConfig, ImageConfig, SourceConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.sources import source_of


class Rank:
    """One of the ranks: a ``Collective``."""

    def __init__(self, group, rank):
        self.group, self.rank, self.local_rank, self.size = group, rank, rank, group.size

    def average_gradients(self, gradients):
        def average(*own):
            return [np.mean(values, axis=0, dtype=values[0].dtype) for values in zip(*self._all(own), strict=True)]

        averaged = tf.nest.flatten(tf.numpy_function(average, gradients, [gradient.dtype for gradient in gradients]))
        for value, gradient in zip(averaged, gradients, strict=True):
            value.set_shape(gradient.shape)
        return averaged

    def sum(self, values):
        return np.sum(self._all(np.asarray(values, np.float64)), axis=0)

    def broadcast(self, variables):
        for variable, value in zip(variables, self._all([v.numpy() for v in variables])[0], strict=True):
            variable.assign(value)

    def broadcast_bytes(self, content):
        return self._all(content)[0]

    def _all(self, value):
        self.group.values[self.rank] = value
        self.group.barrier.wait()
        values = list(self.group.values)
        self.group.barrier.wait()
        return values


class Group:
    def __init__(self, size):
        self.size, self.values = size, [None] * size
        self.barrier = threading.Barrier(size, timeout=60)


@pytest.fixture(scope="session")
def on_ranks():
    """Call ``work(collective)`` on each of ``size`` ranks at once; returns their results by rank."""

    def run(size, work):
        group, results, failures = Group(size), [None] * size, []

        def on_rank(rank):
            try:
                results[rank] = work(Rank(group, rank))
            except Exception as failure:
                failures.append(failure)
                group.barrier.abort()

        threads = [threading.Thread(target=on_rank, args=(rank,)) for rank in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for failure in failures:
            if "BrokenBarrier" not in str(failure):  # which is what the other ranks die of
                raise failure
        assert not failures
        return results

    return run


@pytest.fixture(scope="session")
def dataset(spark, tmp_path_factory):
    config = DatasetConfig(
        root=str(tmp_path_factory.mktemp("data")),
        name="digits",
        image=ImageConfig(height=32, width=32, channels=1),
        validation_fraction=0.05,
        test_fraction=0.75,
    )
    return ingest(spark, source_of(SourceConfig("digits")), config, lambda *_: None).path
