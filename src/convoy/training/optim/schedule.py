"""Learning rates: the optimizer's default, the linear scaling rule, and schedules.

A schedule is a function of the number of updates only (``optimizer.iterations``): every rank computes the same rate,
and a resumed run continues the schedule without further state.

Keras' ``CosineDecay`` and ``ExponentialDecay`` are not used: they compute in float32, so most rates differ in their
last digits from those of existing runs, which ``reproduce`` could then not repeat, and steps above 2**24 are rounded.
Keras has no one-cycle schedule.
"""

import dataclasses
import math
from typing import Any

import keras

from convoy.config import OptimizerConfig, ScheduleConfig, TrainingConfig
from convoy.config.optimizer import configured_rate
from convoy.training.optim.accumulation import updates_per_epoch

_ONE_CYCLE_RISE, _ONE_CYCLE_START, _ONE_CYCLE_END = 0.3, 1 / 25, 1 / 250_000  # as in fastai and PyTorch


def base_rate(config: OptimizerConfig, samples_per_update: int) -> float:
    """Return the configured or default rate, scaled if ``scale_with_batch`` is set.

    The linear scaling rule: P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017,
    section 2.1.
    """
    rate = configured_rate(config)
    return rate if config.scale_with_batch is None else rate * samples_per_update / config.scale_with_batch


def learning_rate(config: TrainingConfig, rows: int) -> "float | Schedule":
    """Return the optimizer's learning rate: a number if it is constant or set by ``ReduceLROnPlateau``.

    Args:
        config: Section ``training``.
        rows: Samples of the training split.
    """
    rate = base_rate(config.optimizer, config.global_batch_size * config.accumulation_steps)
    name = config.schedule.name
    if name == "plateau" or (name == "constant" and not config.schedule.warmup_epochs):
        return rate
    updates = updates_per_epoch(rows, config.global_batch_size, config.accumulation_steps)
    return Schedule(rate, updates, config.epochs, **dataclasses.asdict(config.schedule))


def warmup_updates(config: ScheduleConfig, updates_in_epoch: int) -> int:
    """Return the number of updates of the warm-up."""
    return round(config.warmup_epochs * updates_in_epoch)


@keras.saving.register_keras_serializable("convoy")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of an update, counted from 0.

    * ``cosine``: I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, equation 5,
      without restarts.
    * ``one_cycle``: L. N. Smith, N. Topin, "Super-Convergence", 2017, with the cosine halves of fastai and PyTorch.
    * Warm-up: Goyal et al. 2017, section 2.2; the schedule's clock starts when it ends.

    Args:
        rate: The learning rate.
        updates_in_epoch: Updates per epoch.
        epochs: Total number of epochs.
        settings: Fields of ``ScheduleConfig``.
    """

    def __init__(self, rate: float, updates_in_epoch: int, epochs: int, **settings: Any) -> None:
        self.rate, self.updates_in_epoch, self.epochs = rate, updates_in_epoch, epochs
        self.settings = ScheduleConfig(**settings)

    def __call__(self, step: Any) -> Any:
        """Return the rate of an update (float32 scalar); ``step`` is a number or a tensor."""
        warmup = warmup_updates(self.settings, self.updates_in_epoch)
        step = keras.ops.cast(step, "float64")  # float32 would round the steps of a long training
        since = keras.ops.maximum(step - warmup, 0.0)
        rate = self.rate * self._factor(since, max(1, self.epochs * self.updates_in_epoch - warmup))
        if warmup:
            rate *= keras.ops.minimum((step + 1.0) / warmup, 1.0)
        return keras.ops.cast(rate, "float32")

    def _factor(self, since: Any, total: int) -> Any:
        """Return the rate's factor after ``since`` of ``total`` updates, both counted from the end of the warm-up."""
        settings = self.settings
        part = keras.ops.minimum(since / total, 1.0)
        epochs = since / self.updates_in_epoch
        if settings.name == "cosine":
            return _between(1.0, settings.final_fraction, part)
        if settings.name == "step":
            return settings.decay_factor ** keras.ops.floor(epochs / settings.decay_epochs)
        if settings.name == "exponential":
            return settings.decay_factor**epochs
        if settings.name == "one_cycle":
            rise = _between(_ONE_CYCLE_START, 1.0, keras.ops.minimum(part / _ONE_CYCLE_RISE, 1.0))
            fall = _between(1.0, _ONE_CYCLE_END, (part - _ONE_CYCLE_RISE) / (1 - _ONE_CYCLE_RISE))
            return keras.ops.where(part < _ONE_CYCLE_RISE, rise, fall)
        return keras.ops.ones_like(since)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate the schedule."""
        settings = dataclasses.asdict(self.settings)
        return {"rate": self.rate, "updates_in_epoch": self.updates_in_epoch, "epochs": self.epochs, **settings}


def _between(first: float, last: float, part: Any) -> Any:
    """Return the value of half a cosine from ``first`` (part 0) to ``last`` (part 1)."""
    return last + (first - last) * (1.0 + keras.ops.cos(math.pi * part)) / 2.0


def rate_of_last_update(optimizer: keras.optimizers.Optimizer) -> float:
    """Return the rate of the latest update; with a schedule, ``learning_rate`` is already that of the next."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    schedule = optimizer._learning_rate  # the public property evaluates it
    if isinstance(schedule, Schedule):
        return float(schedule(max(0, int(optimizer.iterations.numpy()) - 1)))
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
