"""Conversion between a model in training and a checkpoint: weights, optimizer, random states, metrics, callbacks."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from convoy.config import TrainingConfig
from convoy.errors import TrainingError
from convoy.training.callbacks.ema import validated_weights
from convoy.training.callbacks.global_metrics import GlobalMetrics
from convoy.training.callbacks.sync_batch_norm import average_statistics
from convoy.training.checkpoint.step_counter import StepCounter
from convoy.training.checkpoint.store import Checkpoint, CheckpointStore
from convoy.training.distributed.collective import Collective
from convoy.training.events import CheckpointSaved, Emit, TrainingWarning

_CLOCK_STEPS = 16  # steps between two checks of rank 0's clock, on which all ranks have to agree


class Stateful(Protocol):
    """A callback with state that persists over epochs."""

    def state(self) -> dict[str, Any]:
        """Return the state that a resumed run needs, as JSON values."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state that ``state`` returned."""


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves a checkpoint after every epoch, and every n steps or seconds within one.

    It comes after all callbacks whose state it saves.

    All ranks take part (sums of metrics, batch-norm statistics), rank 0 writes. If it cannot, training continues.

    Args:
        store: Where checkpoints are saved; used on rank 0.
        config: Section ``training``.
        collective: The ranks.
        position: Kept by ``StepCounterCallback``.
        exact: Holds the metrics of the epoch so far.
        callbacks: Name -> callback whose state is saved.
        emit: Takes warnings, and ``CheckpointSaved`` after an epoch that is not the last; used on rank 0.
        identity: Values that a resumed run must have in common with this one.
    """

    def __init__(
        self,
        store: CheckpointStore,
        config: TrainingConfig,
        collective: Collective,
        position: StepCounter,
        exact: GlobalMetrics,
        callbacks: Mapping[str, Stateful],
        emit: Emit,
        identity: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.store, self.config, self.collective, self.position = store, config, collective, position
        self.exact, self.callbacks, self.emit, self.identity = exact, callbacks, emit, dict(identity)
        self.saved, self.last = time.monotonic(), position.start[0] * position.steps + position.start[1]
        self.lowest = float("inf")
        self._failing = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save within an epoch."""
        if self.position.last or not self.exact.updates or not self._due():
            return
        average_statistics(self.model, self.collective)
        sums = self.exact.metrics_so_far().tolist()
        self._save(self.position.epoch, self.position.step + 1, sums)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save after the epoch and its validation."""
        loss = float((logs or {}).get("val_loss", float("inf")))
        stopping = self.callbacks.get("EarlyStopping")
        best = stopping.state()["best_epoch"] == epoch if stopping else loss < self.lowest
        self.lowest = min(loss, self.lowest)
        self._save(epoch + 1, 0, [], best=best)
        goes_on = epoch + 1 < self.config.epochs and not self.model.stop_training
        if goes_on and not self.collective.rank and not self._failing:
            self.emit(CheckpointSaved(epoch))

    def _due(self) -> bool:
        settings, done = self.config.checkpoint, self.position.epoch * self.position.steps + self.position.step + 1
        if settings.every_steps and done // settings.every_steps > self.last // settings.every_steps:
            return True  # at the multiple itself, or at the first update after it
        if not settings.every_seconds or done % _CLOCK_STEPS:
            return False
        late = time.monotonic() - self.saved >= settings.every_seconds
        return bool(self.collective.sum(np.array([float(late and self.collective.rank == 0)]))[0])

    def _save(self, epoch: int, step: int, sums: Sequence[float], *, best: bool = False) -> None:
        self.saved, self.last = time.monotonic(), epoch * self.position.steps + step
        if self.collective.rank:
            return
        state = {
            "epoch": epoch,
            "step": step,
            "steps": self.position.steps,
            "metrics": list(sums),
            "lowest": self.lowest,
            "draws": [int(np.asarray(keras.ops.convert_to_numpy(v)).ravel()[-1]) for v in random_states(self.model)],
            "callbacks": {name: callback.state() for name, callback in self.callbacks.items()},
            "identity": self.identity,
        }
        arrays = {f"weights/{i:04d}": value for i, value in enumerate(self.model.get_weights())}
        optimizer = [keras.ops.convert_to_numpy(v) for v in self.model.optimizer.variables]
        arrays |= {f"optimizer/{i:04d}": value for i, value in enumerate(optimizer)}
        if self.config.optimizer.ema_momentum is not None and step == 0:
            arrays |= {f"validated/{i:04d}": value for i, value in enumerate(validated_weights(self.model))}
        try:
            self.store.save(Checkpoint(epoch * self.position.steps + step, arrays, state), best=best)
        except OSError as error:
            text = (
                f"no checkpoint could be saved in {self.store.folder} ({error.strerror or error}); training continues"
            )
            if not self._failing:  # warn once, not for each checkpoint
                self.emit(TrainingWarning(text))
            self._failing = True
            return
        if self._failing:
            self._failing = False
            self.emit(TrainingWarning("checkpoints can be saved again"))


def random_states(model: keras.Model) -> list[Any]:
    """Return the variables (seed, number of draws) of layers that draw random numbers, such as dropout."""
    weights = {id(v) for v in model.weights}
    return [v for v in model.variables if id(v) not in weights and v.path.endswith("seed_generator_state")]


def read_checkpoint(store: CheckpointStore, collective: Collective) -> tuple[dict[str, Any] | None, Checkpoint | None]:
    """Read the newest checkpoint on rank 0, and broadcast its state to all ranks.

    Returns:
        (The state, on all ranks, or None if there is no checkpoint; the checkpoint, on rank 0).
    """
    checkpoint = store.latest() if collective.rank == 0 else None
    text = json.dumps(None if checkpoint is None else checkpoint.state).encode()
    return json.loads(collective.broadcast_bytes(text)), checkpoint


def restore_weights(model: keras.Model, checkpoint: Checkpoint) -> None:
    """Load the checkpoint's weights and optimizer state, on rank 0, into a compiled model with a built optimizer.

    Raises:
        TrainingError: The checkpoint has another network or optimizer.
    """
    optimizer = model.optimizer.variables
    for name, variables in (("weights", model.weights), ("optimizer", optimizer)):
        saved = named(checkpoint.arrays, name)
        shapes = [tuple(v.shape) for v in variables]
        if [value.shape for value in saved] != shapes:
            raise TrainingError(
                f"the checkpoint at step {checkpoint.step:,} has other {name} than the configured model:"
                f" {len(saved)} arrays, {len(shapes)} expected; resume with the run's own model and optimizer"
            )
        for variable, value in zip(variables, saved, strict=True):
            variable.assign(value)


def restore_draws(model: keras.Model, state: Mapping[str, Any]) -> None:
    """Restore the number of draws of random layers, on every rank; each rank keeps its own seeds."""
    for variable, draws in zip(random_states(model), state["draws"], strict=True):
        value = np.asarray(keras.ops.convert_to_numpy(variable)).copy()
        value.ravel()[-1] = draws
        variable.assign(value)


def named(arrays: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    """Return the arrays ``<name>/0000``, ``<name>/0001``, ..., in order."""
    return [arrays[key] for key in sorted(arrays) if key.startswith(f"{name}/")]
