"""Callbacks for a metric that no longer improves: reduce the learning rate, stop early.

All ranks have the same metrics (``GlobalMetrics``), so they make the same decision without communication.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from convoy.config import EarlyStoppingConfig, ScheduleConfig
from convoy.training.callbacks.ema import validated_weights
from convoy.training.events import EarlyStopped, Emit
from convoy.training.optim.schedule import warmup_updates

_PLATEAU_MIN_DELTA = 1e-4  # as Keras' ReduceLROnPlateau


class Patience:
    """Counter of the epochs since a metric improved.

    Args:
        epochs: Epochs without progress after which it is exhausted.
        min_delta: Smallest change that counts as progress.
        rising: Whether a higher value of the metric is better.
    """

    def __init__(self, epochs: int, min_delta: float, *, rising: bool = False) -> None:
        self.epochs, self.min_delta, self.sign = epochs, min_delta, 1.0 if rising else -1.0
        self.best, self.waited = -math.inf, 0

    def update(self, value: float) -> bool:
        """Record an epoch's value and return whether it is a new best. NaN never is."""
        better = self.sign * value - self.min_delta > self.best
        self.best, self.waited = (self.sign * value, 0) if better else (self.best, self.waited + 1)
        return better

    @property
    def exhausted(self) -> bool:
        """Return whether too many epochs have passed."""
        return self.waited >= self.epochs

    def state(self) -> tuple[float, int]:
        """Return the state that a resumed run needs."""
        return (self.best, self.waited)

    def restore(self, state: Sequence[Any]) -> None:
        """Restore a state that ``state()`` returned."""
        self.best, self.waited = float(state[0]), int(state[1])


class ReduceLROnPlateau(keras.callbacks.Callback):
    """Multiplies the learning rate by a factor when ``val_loss`` no longer falls, after a linear warm-up.

    The rule is that of Keras' ``ReduceLROnPlateau``. The rate is a variable of the optimizer; a resumed run also needs
    ``patience.state()``.

    Args:
        config: Section ``training.schedule``.
        rate: The learning rate to start from.
        updates_in_epoch: Updates per epoch.
    """

    def __init__(self, config: ScheduleConfig, rate: float, updates_in_epoch: int) -> None:
        super().__init__()
        self.factor, self.rate, self.warmup = config.decay_factor, rate, warmup_updates(config, updates_in_epoch)
        self.patience = Patience(config.patience, _PLATEAU_MIN_DELTA)
        self.warm = self.warmup == 0

    def state(self) -> dict[str, Any]:
        """Return the state that a resumed run needs; the rate itself is a variable of the optimizer."""
        return {"patience": self.patience.state(), "warm": self.warm}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state that ``state()`` returned."""
        self.patience.restore(state["patience"])
        self.warm = state["warm"]

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate during the warm-up."""
        if not self.warm:
            optimizer = self.model.optimizer
            optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
            update = int(optimizer.iterations.numpy()) + 1
            if update <= self.warmup:
                self.model.optimizer.learning_rate = self.rate * update / self.warmup
            self.warm = update >= self.warmup

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Reduce the rate if the patience is exhausted."""
        if not self.warm:
            return
        self.patience.update(float((logs or {})["val_loss"]))
        if self.patience.exhausted:
            self.patience.waited = 0
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            self.model.optimizer.learning_rate = rate * self.factor


class EarlyStopping(keras.callbacks.Callback):
    """Stops training when a metric no longer improves, and restores the best epoch's weights.

    With a moving average of the weights (EMA), Keras' callback would restore weights that were never validated.

    Args:
        config: Section ``training.early_stopping``, with a patience.
        emit: Takes an ``EarlyStopped`` event, at the end of training.
    """

    def __init__(self, config: EarlyStoppingConfig, emit: Emit) -> None:
        super().__init__()
        assert config.patience is not None
        self.config, self.emit = config, emit
        self.patience = Patience(config.patience, config.min_delta, rising=config.monitor == "val_accuracy")
        self.best_epoch: int | None = None
        self.best_weights: list[np.ndarray] | None = None
        self.stopped: int | None = None

    def state(self) -> dict[str, Any]:
        """Return the state that a resumed run needs; the best weights are those of the best checkpoint."""
        return {"patience": self.patience.state(), "best_epoch": self.best_epoch}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state that ``state()`` returned."""
        self.patience.restore(state["patience"])
        self.best_epoch = state["best_epoch"]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check the metric."""
        if self.patience.update(float((logs or {})[self.config.monitor])):
            self.best_epoch = epoch
            if self.config.restore_best:
                self.best_weights = validated_weights(self.model)
        elif self.patience.exhausted:
            self.stopped = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        """Restore the best weights; ``fit`` has already assigned the EMA."""
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
        best = self.best_epoch if self.best_weights is not None else None
        self.emit(EarlyStopped(best, self.stopped, self.config.monitor))
