"""Keras callbacks that make ``fit`` exact over ranks and report progress."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from convoy.config import TrainingConfig
from convoy.dataset.reading.epoch_plan import gradient_weight, steps_per_epoch
from convoy.errors import TrainingError
from convoy.training.callbacks.early_stopping import EarlyStopping, ReduceLROnPlateau
from convoy.training.callbacks.ema import ValidateAverages
from convoy.training.callbacks.sync_batch_norm import SyncBatchNorm
from convoy.training.checkpoint.step_counter import StepCounter
from convoy.training.distributed.collective import Collective
from convoy.training.optim.accumulation import accumulated_weight, ends_update, updates_per_epoch
from convoy.training.optim.schedule import base_rate, rate_of_last_update

Emit = Callable[[dict[str, Any]], None]


def optimisation_callbacks(config: TrainingConfig, collective: Collective, rows: int, emit: Emit) -> list[Any]:
    """Return the callbacks of optimizer and schedule; they follow ``GlobalMetrics`` and ``ProgressReporter``.

    Args:
        config: Section ``training``.
        collective: The ranks.
        rows: Samples of the training split.
        emit: Takes events; used on rank 0.
    """
    callbacks: list[Any] = [SyncBatchNorm(collective)]
    if config.optimizer.ema_momentum is not None:
        callbacks.append(ValidateAverages())
    if config.schedule.name == "plateau":
        updates = updates_per_epoch(rows, config.global_batch_size, config.accumulation_steps)
        rate = base_rate(config.optimizer, config.global_batch_size * config.accumulation_steps)
        callbacks.append(ReduceLROnPlateau(config.schedule, rate, updates))
    if config.early_stopping.patience is not None:
        callbacks.append(EarlyStopping(config.early_stopping, emit if collective.rank == 0 else lambda _: None))
    return callbacks


class GlobalMetrics(keras.callbacks.Callback):
    """Weights gradients by the number of samples, and sums metrics over ranks before they are divided.

    Keras' metrics are sums (total and count): their sums over the ranks at the last batch give the metric of all
    samples, however they are distributed, so every rank has the same logs and makes the same decisions.

    Args:
        collective: The ranks.
        rows: Samples of the training split.
        validation_rows: Samples of the validation split.
        global_batch: Samples per step, over all ranks.
        position: Kept by ``position.StepCounterCallback``.
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


class ProgressReporter(keras.callbacks.Callback):
    """Emits a ``step`` event a few times a second and an ``epoch`` event with the epoch's metrics.

    Args:
        emit: Takes an event; called on rank 0 only.
        rows: Samples of the training split.
        epochs: Total number of epochs.
        global_batch: Samples per step, over all ranks.
        position: Kept by ``position.StepCounterCallback``.
    """

    every = 0.2  # seconds between step events

    def __init__(self, emit: Emit, rows: int, epochs: int, global_batch: int, position: StepCounter) -> None:
        super().__init__()
        self.emit, self.rows, self.epochs, self.global_batch = emit, rows, epochs, global_batch
        self.position = position
        self.begun = 0  # samples of the epoch that an earlier attempt completed
        self.done: list[dict[str, Any]] = []  # the epoch events so far
        self.started = self.trained = self.emitted = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self.started = time.monotonic()
        self.begun = (self.position.step + 1) * self.global_batch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Emit a step event, unless the last one is recent."""
        self.trained = now = time.monotonic()
        if now - self.emitted < self.every:
            return
        self.emitted = now
        at = self.position
        rate = (min(self.rows, (at.step + 1) * self.global_batch) - self.begun) / (now - self.started)
        loss = float((logs or {}).get("loss", math.nan))
        where = {"epoch": at.epoch, "epochs": self.epochs, "step": at.step + 1, "steps": at.steps}
        self.emit({"type": "step", **where, "loss": loss, "images_per_second": rate})

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Emit an ``alive`` event, unless the last event is recent."""
        if time.monotonic() - self.emitted >= self.every:
            self.emitted = time.monotonic()
            self.emit({"type": "alive"})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Emit the epoch's metrics."""
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        metrics["images_per_second"] = (self.rows - self.begun) / (self.trained - self.started)
        metrics["learning_rate"] = rate_of_last_update(self.model.optimizer)
        seconds = time.monotonic() - self.started
        event = {"type": "epoch", "epoch": epoch, "epochs": self.epochs, "seconds": seconds, "metrics": metrics}
        self.done.append(event)
        self.emit(event)

    def state(self) -> dict[str, Any]:
        """Return the epochs so far: a driver that was killed may not have logged the last ones."""
        return {"done": self.done}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state that ``state()`` returned."""
        self.done = list(state["done"])


class TerminateOnNaN(keras.callbacks.Callback):
    """Raises ``TrainingError`` when the loss of an epoch is not finite; all ranks have the same loss.

    Args:
        find: Returns the path of a training sample with values that are not finite, if any (see
            ``dataset.ingest.nan_check``).
    """

    def __init__(self, find: Callable[[], str | None] = lambda: None) -> None:
        super().__init__()
        self.find = find

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check the loss."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            problem, sample = f"the loss is {loss} in epoch {epoch + 1}", self.find()
            if sample is not None:
                raise TrainingError(
                    f"{problem}: training sample {sample!r}, or its weight, is not finite in float32; remove it, and"
                    " ingest the dataset again"
                )
            raise TrainingError(f"{problem}; lower training.optimizer.learning_rate, or check the images")
