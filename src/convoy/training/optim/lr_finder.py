"""Learning rate finder: a sweep on the ranks from a tiny to a far too large rate, and a proposal from its losses.

L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017 (arXiv 1506.01186, of 2015), section 3.3; with
exponential steps and the end at four times the lowest loss, as in S. Gugger's version for fastai.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from convoy.config import EarlyStoppingConfig, ScheduleConfig, TrainingConfig
from convoy.dataset.reading.split_reader import samples_per_epoch
from convoy.dataset.reading.tf_data import reading_errors
from convoy.dataset.storage.filesystem import location
from convoy.dataset.storage.manifest import Manifest
from convoy.training.callbacks.global_metrics import GlobalMetrics
from convoy.training.checkpoint.step_counter import StepCounter, StepCounterCallback
from convoy.training.distributed.collective import Collective
from convoy.training.events import Emit, Step
from convoy.training.input.input_pipeline import Pipeline
from convoy.training.loop import TrainTask, compiled_network, set_up_tensorflow
from convoy.training.optim.accumulation import updates_per_epoch

_LOWEST, _HIGHEST = 1e-7, 10.0
_LEAST_UPDATES, _MOST_UPDATES = 100, 300
_DIVERGED = 4.0  # times the lowest loss
_MEMORY = 0.9  # of the running mean that detects divergence
_PATIENT_UPDATES = 10  # before which divergence is not checked
_SMOOTHING_DECADES = 0.15  # standard deviation of the window over the curve
_IDLE = 100.0  # times the first rate, up to which hardly anything changes
_FALL = 0.05  # share by which the loss has to fall, for a proposal
_NOISE = 5.0  # standard deviations of noise, likewise


@dataclass(frozen=True)
class Sweep:
    """The result of a sweep.

    Attributes:
        rates: Learning rates, increasing exponentially.
        losses: The loss of the next global batch after an update with each rate, over all ranks; the last one may not
            be finite.
        first: The loss before the first update.
        scale: Factor of the configured learning rate (``training.optimizer.scale_with_batch``), or 1.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    first: float
    scale: float = 1.0

    @property
    def smoothed(self) -> np.ndarray:
        """Return the finite losses, smoothed by a Gaussian window with a standard deviation of 0.15 decades."""
        return smoothed(self.rates, [loss for loss in self.losses if math.isfinite(loss)])

    @property
    def suggestion(self) -> float | None:
        """Return the rate at which the smoothed loss falls most steeply, for ``training.optimizer.learning_rate``.

        Rates after the lowest loss do not count: there the loss only recovers from overshooting. (The other common rule
        is a tenth of the rate with the lowest loss; the curve is flat there, and the result varied more from seed to
        seed with Adam and SGD.) None if the loss has not fallen by a twentieth and by more than the batches' noise.
        """
        losses = self.smoothed
        lowest = int(np.argmin(losses)) if len(losses) else 0
        if lowest == 0 or losses[lowest] > self._to_beat(lowest, len(losses)):
            return None
        slopes = np.gradient(losses[: lowest + 1], np.log10(self.rates[: lowest + 1]))
        return float(f"{self.rates[int(slopes.argmin())] / self.scale:.2g}")

    def _to_beat(self, at: int, count: int) -> float:
        """Return the bound that the smoothed loss must fall below, from the first losses at ineffective rates."""
        idle = [loss for rate, loss in zip(self.rates, self.losses, strict=True) if rate <= _IDLE * self.rates[0]]
        before = np.array([self.first, *(loss for loss in idle if math.isfinite(loss))])
        left = np.sqrt(
            np.sum(_window(self.rates[:count])[at] ** 2)
        )  # noise left by smoothing, which averages fewer losses at the ends
        return float(before.mean() - max(_FALL * before.mean(), _NOISE * before.std() * left))


def find_rate(task: TrainTask, collective: Collective, emit: Emit) -> Sweep | None:
    """Sweep the learning rate on this rank, together with the others, and return the losses; the model is discarded.

    The optimizer, its clipping and decay, and the batches are those of the configuration; its schedule, warm-up, moving
    average of weights and early stopping are not used. The sweep has as many updates as an epoch, at least 100 and at
    most 300, and ends when the loss is not finite or four times its lowest value.

    Args:
        task: The training to find a rate for.
        collective: The ranks.
        emit: Takes ``Step`` events; used on rank 0.

    Returns:
        The losses, on rank 0; None elsewhere.
    """
    set_up_tensorflow(task, collective)
    manifest = Manifest.load(task.version_path)
    given, rows = task.training, samples_per_epoch(manifest, task.training.class_balance)
    in_epoch = updates_per_epoch(rows, given.global_batch_size, given.accumulation_steps)
    updates = min(max(in_epoch, _LEAST_UPDATES), _MOST_UPDATES)
    config = replace(
        given,
        epochs=math.ceil(updates / in_epoch),
        schedule=ScheduleConfig(),
        early_stopping=EarlyStoppingConfig(),
        optimizer=replace(given.optimizer, ema_momentum=None),
    )
    with Pipeline(location(task.version_path), manifest, config, collective, task.threads) as data:
        model = compiled_network(replace(task, training=config), manifest, collective, _LOWEST)
        collective.broadcast([*model.weights, *model.optimizer.variables])
        position = StepCounter(data.steps)
        batch = config.global_batch_size
        exact = GlobalMetrics(collective, data.rows, 0, batch, position, config.accumulation_steps)
        sweep = _RaiseRate(np.geomspace(_LOWEST, _HIGHEST, updates), exact, batch, emit)
        with reading_errors():
            model.fit(
                data.training(0, 0),
                epochs=config.epochs,
                steps_per_epoch=data.steps,
                callbacks=[StepCounterCallback(position), exact, sweep],
                shuffle=False,
                verbose=0,
            )
    return sweep.result(_scale(config)) if collective.rank == 0 else None


class _RaiseRate(keras.callbacks.Callback):
    """Sets the rate of each update, and records the loss of the next; must follow ``GlobalMetrics``.

    All ranks have the losses of all samples, so they stop together.
    """

    every = 0.2  # seconds between step events

    def __init__(self, rates: np.ndarray, exact: GlobalMetrics, global_batch: int, emit: Emit) -> None:
        super().__init__()
        self.rates, self.exact, self.global_batch, self.emit = rates, exact, global_batch, emit
        self.losses: list[float] = []
        self.running, self.lowest = 0.0, math.inf
        self.started = self.emitted = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate of the update that this step is part of."""
        self.model.optimizer.learning_rate = float(self.rates[len(self.losses)])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Record the loss of an update's samples; stop when the sweep is complete or has diverged."""
        if not self.exact.updates:
            return
        total, count = self.exact.metrics_so_far()[:2]  # the loss is the first of the metrics: its sum, its samples
        self.model.reset_metrics()
        loss = float(total / count)
        self.losses.append(loss)
        done = len(self.losses)
        self.running = _MEMORY * self.running + (1 - _MEMORY) * loss
        mean = self.running / (1 - _MEMORY**done)
        if done > _PATIENT_UPDATES:
            self.lowest = min(self.lowest, mean)
        if done == len(self.rates) or not math.isfinite(loss) or mean > _DIVERGED * self.lowest:
            self.model.stop_training = True
        self._tell(done, mean)

    def _tell(self, done: int, mean: float) -> None:
        now = time.monotonic()
        if self.exact.collective.rank or now - self.emitted < self.every:
            return
        self.emitted = now
        rate = done * self.exact.accumulation_steps * self.global_batch / (now - self.started)
        self.emit(Step(0, 1, done, len(self.rates), loss=mean, images_per_second=rate))

    def result(self, scale: float) -> Sweep:
        """Return the sweep so far."""
        return Sweep(
            tuple(map(float, self.rates[: len(self.losses) - 1])), tuple(self.losses[1:]), self.losses[0], scale
        )


def smoothed(rates: Sequence[float], losses: Sequence[float]) -> np.ndarray:
    """Return the losses, float64 (n,), smoothed over the first n rates by a Gaussian window in their logarithm."""
    return _window(rates[: len(losses)]) @ np.asarray(losses, np.float64)


def _window(rates: Sequence[float]) -> np.ndarray:
    """Return the weights (n, n) of each loss in each mean."""
    at = np.log10(np.asarray(rates, np.float64))
    weights = np.exp(-0.5 * ((at[:, None] - at) / _SMOOTHING_DECADES) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)


def _scale(config: TrainingConfig) -> float:
    meant_for = config.optimizer.scale_with_batch
    return config.global_batch_size * config.accumulation_steps / meant_for if meant_for else 1.0
