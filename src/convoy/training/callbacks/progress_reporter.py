"""Progress of a training, sent to the driver."""

import math
import time
from collections.abc import Mapping
from typing import Any

import keras

from convoy.training.checkpoint.step_counter import StepCounter
from convoy.training.events import Alive, Emit, Epoch, Step, from_json, to_json
from convoy.training.optim.schedule import rate_of_last_update


class ProgressReporter(keras.callbacks.Callback):
    """Emits a ``Step`` event a few times a second and an ``Epoch`` event with the epoch's metrics.

    Args:
        emit: Takes an event; called on rank 0 only.
        rows: Samples of the training split.
        epochs: Total number of epochs.
        global_batch: Samples per step, over all ranks.
        position: Kept by ``StepCounterCallback``.
    """

    every = 0.2  # seconds between step events

    def __init__(self, emit: Emit, rows: int, epochs: int, global_batch: int, position: StepCounter) -> None:
        super().__init__()
        self.emit, self.rows, self.epochs, self.global_batch = emit, rows, epochs, global_batch
        self.position = position
        self.begun = 0  # samples of the epoch that an earlier attempt completed
        self.done: list[Epoch] = []  # epochs so far
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
        self.emit(Step(at.epoch, self.epochs, at.step + 1, at.steps, loss, rate))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Emit an ``Alive`` event, unless the last event is recent."""
        if time.monotonic() - self.emitted >= self.every:
            self.emitted = time.monotonic()
            self.emit(Alive())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Emit the epoch's metrics."""
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        metrics["images_per_second"] = (self.rows - self.begun) / (self.trained - self.started)
        metrics["learning_rate"] = rate_of_last_update(self.model.optimizer)
        event = Epoch(epoch, self.epochs, time.monotonic() - self.started, metrics)
        self.done.append(event)
        self.emit(event)

    def state(self) -> dict[str, Any]:
        """Return the epochs so far: a driver that was killed may not have logged the last ones."""
        return {"done": [to_json(epoch) for epoch in self.done]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state that ``state()`` returned."""
        self.done = list(epochs_in(state))


def epochs_in(state: Mapping[str, Any]) -> tuple[Epoch, ...]:
    """Return the epochs in a state that ``ProgressReporter.state`` returned.

    Raises:
        EventError: Another version of Convoy wrote the state.
    """
    return tuple(event for event in map(from_json, state.get("done", [])) if isinstance(event, Epoch))
