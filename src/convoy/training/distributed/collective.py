"""Collective operations of the ranks. Only this module calls Horovod's; a single process does not need Horovod."""

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
        """Return the tensors averaged over the ranks, inside a ``tf.function`` (None stays None)."""

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return an array summed over the ranks, in float64."""

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Assign rank 0's values to the variables on all ranks."""

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Return rank 0's bytes on all ranks."""


class SingleProcess:
    """A group of one rank, whose operations change nothing."""

    rank = local_rank = 0
    size = 1

    def average_gradients(self, gradients: Sequence[Any]) -> list[Any]:
        """Return the gradients unchanged."""
        return list(gradients)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the values in float64."""
        return np.asarray(values, np.float64)

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Do nothing."""

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Return the bytes unchanged."""
        return content


class HorovodRanks:
    """The ranks that Horovod started; created on each of them.

    Args:
        config: How gradients are exchanged.
    """

    def __init__(self, config: HorovodConfig) -> None:
        import horovod.tensorflow as hvd

        hvd.init()
        self._hvd = hvd
        self._compression = {"none": hvd.Compression.none, "fp16": hvd.Compression.fp16}[config.compression]
        self.rank, self.size, self.local_rank = hvd.rank(), hvd.size(), hvd.local_rank()

    def average_gradients(self, gradients: Sequence[Any]) -> list[Any]:
        """Average all gradients in one fused all-reduce, so that every rank takes part with all of them or none."""
        import tensorflow as tf

        present = [(i, tf.convert_to_tensor(g)) for i, g in enumerate(gradients) if g is not None]
        averaged: list[Any] = [None] * len(gradients)
        reduced = self._hvd.grouped_allreduce(
            [g for _, g in present], op=self._hvd.Average, compression=self._compression
        )
        for (i, _), value in zip(present, reduced, strict=True):
            averaged[i] = value
        return averaged

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return an array summed over the ranks by an all-reduce in float64."""
        return self._hvd.allreduce(np.asarray(values, np.float64), op=self._hvd.Sum).numpy()

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Broadcast the variables from rank 0, in the given order."""
        for i, variable in enumerate(variables):
            variable.assign(self._hvd.broadcast(variable.value, root_rank=0, name=f"broadcast.{i}"))

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Broadcast rank 0's bytes as a tensor; Horovod's ``broadcast_object`` would pickle and unpickle them.

        Args:
            content: The bytes; only those of rank 0 are used.
        """
        import tensorflow as tf

        (length,) = self._hvd.broadcast(tf.constant([len(content)], tf.int64), root_rank=0, name="bytes.length").numpy()
        own = np.frombuffer(content, np.uint8) if self.rank == 0 else np.zeros(length, np.uint8)
        return bytes(self._hvd.broadcast(tf.constant(own), root_rank=0, name="bytes.content").numpy())
