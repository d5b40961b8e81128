"""What ranks do together. The door to Horovod's operations; a single process needs no Horovod at all."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from convoy.config import HorovodConfig


class Collective(Protocol):
    """A group of ranks."""

    rank: int
    size: int
    local_rank: int

    def average_gradients(self, gradients: Sequence[Any]) -> list[Any]:
        """Average tensors over the ranks, inside a ``tf.function`` (None stays None)."""

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sum an array over the ranks, in float64."""

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Give the variables rank 0's values."""


class SingleProcess:
    """One rank: everything is what it is."""

    rank = local_rank = 0
    size = 1

    def average_gradients(self, gradients: Sequence[Any]) -> list[Any]:
        """The gradients as they are."""
        return list(gradients)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """The values as they are."""
        return np.asarray(values, np.float64)

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Nothing to do."""


class HorovodRanks:
    """The ranks that Horovod started; made on each of them.

    Args:
        config: How gradients are exchanged.
    """

    def __init__(self, config: HorovodConfig) -> None:
        import horovod.tensorflow as hvd

        hvd.init()
        self._hvd = hvd
        self._reduction = {"average": hvd.Average, "adasum": hvd.Adasum}[config.reduction]
        self._compression = {"none": hvd.Compression.none, "fp16": hvd.Compression.fp16}[config.compression]
        self.rank, self.size, self.local_rank = hvd.rank(), hvd.size(), hvd.local_rank()

    def average_gradients(self, gradients: Sequence[Any]) -> list[Any]:
        """One fused all-reduce for all gradients, so that every rank takes part with all of them or none."""
        import tensorflow as tf

        present = [(i, tf.convert_to_tensor(g)) for i, g in enumerate(gradients) if g is not None]
        averaged: list[Any] = [None] * len(gradients)
        reduced = self._hvd.grouped_allreduce(
            [g for _, g in present], op=self._reduction, compression=self._compression
        )
        for (i, _), value in zip(present, reduced, strict=True):
            averaged[i] = value
        return averaged

    def sum(self, values: np.ndarray) -> np.ndarray:
        """All-reduce in float64."""
        return self._hvd.allreduce(np.asarray(values, np.float64), op=self._hvd.Sum).numpy()

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Broadcast from rank 0, in the order given."""
        for i, variable in enumerate(variables):
            variable.assign(self._hvd.broadcast(variable.value, root_rank=0, name=f"broadcast.{i}"))
