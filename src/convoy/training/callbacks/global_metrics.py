"""Exact gradients and metrics over all ranks."""

from typing import Any

import keras
import numpy as np

from convoy.dataset.reading.epoch_plan import gradient_weight, steps_per_epoch
from convoy.training.checkpoint.step_counter import StepCounter
from convoy.training.distributed.collective import Collective
from convoy.training.optim.accumulation import accumulated_weight, ends_update


class GlobalMetrics(keras.callbacks.Callback):
    """Weights gradients by the number of samples, and sums metrics over ranks before they are divided.

    Keras' metrics are sums (total and count): their sums over the ranks at the last batch give the metric of all
    samples, however they are distributed, so every rank has the same logs and makes the same decisions.

    Args:
        collective: The ranks.
        rows: Samples of the training split.
        validation_rows: Samples of the validation split.
        global_batch: Samples per step, over all ranks.
        position: Kept by ``StepCounterCallback``.
        accumulation_steps: Steps per update.

    Attributes:
        updates: Whether the step updates the weights.
        carried: Metrics of the part of an epoch that an earlier attempt completed, as returned by ``metrics_so_far``;
            on rank 0.
    """

    def __init__(
        self,
        collective: Collective,
        rows: int,
        validation_rows: int,
        global_batch: int,
        position: StepCounter,
        accumulation_steps: int = 1,
    ) -> None:
        super().__init__()
        self.collective, self.rows, self.global_batch = collective, rows, global_batch
        self.validation_rows, self.accumulation_steps = validation_rows, accumulation_steps
        self.position, self.carried = position, np.zeros(0)
        self.validation_steps = steps_per_epoch(validation_rows, global_batch)
        self.weight, self.updates = 1.0, True  # the optimizer's current values
        self._remembered: list[tuple[Any, np.ndarray]] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the weight of this rank's gradients in the step, and whether it ends an update."""
        plan = (self.rows, self.global_batch, self.accumulation_steps, self.position.step)
        updates = ends_update(*plan)
        if updates != self.updates:
            self.updates = updates
            self.model.optimizer.updates.assign(updates)
        weight = accumulated_weight(*plan, self.collective.rank, self.collective.size)
        if weight != self.weight:
            self.weight = weight
            self.model.optimizer.gradient_weight.assign(weight)
        if weight == 0:
            self._remember()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Sum the metrics after the last step of an epoch."""
        self._restore()
        if self.position.last:
            self._set_metrics(self.metrics_so_far())
            self.carried = np.zeros(0)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Prepare for a step without samples of this rank."""
        if self._weight_of(self.validation_rows, batch) == 0:
            self._remember()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Sum the metrics after the last step of a validation."""
        self._restore()
        if batch == self.validation_steps - 1:
            self._set_metrics(self.metrics_so_far())

    def metrics_so_far(self) -> np.ndarray:
        """Return the metrics' sums and counts over all ranks, concatenated, float64; all ranks have to call this."""
        values = [np.asarray(keras.ops.convert_to_numpy(v), np.float64).ravel() for v in self._metric_variables()]
        packed = np.concatenate(values)
        if self.carried.size:
            packed = packed + self.carried
        return self.collective.sum(packed)

    def _weight_of(self, rows: int, batch: int) -> float:
        return gradient_weight(rows, self.global_batch, batch, self.collective.rank, self.collective.size)

    def _metric_variables(self) -> list[Any]:
        return [variable for metric in self.model.metrics for variable in metric.variables]

    def _remember(self) -> None:
        """Save the values, other than gradients, that a borrowed sample changes (see ``dataset.reading.tf_data``)."""
        variables = [*self._metric_variables(), *self.model.non_trainable_variables]
        self._remembered = [(variable, keras.ops.convert_to_numpy(variable)) for variable in variables]

    def _restore(self) -> None:
        for variable, value in self._remembered:
            variable.assign(value)
        self._remembered = []

    def _set_metrics(self, packed: np.ndarray) -> None:
        variables = self._metric_variables()
        sizes = [int(np.prod(variable.shape)) for variable in variables]
        for variable, value in zip(variables, np.split(packed, np.cumsum(sizes)[:-1]), strict=True):
            variable.assign(value.reshape(variable.shape))
