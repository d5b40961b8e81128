"""Sections ``training.optimizer``, ``training.schedule``, ``training.early_stopping`` and ``training.horovod``."""

import math
from dataclasses import dataclass
from typing import Literal

from convoy.config.checks import require

OptimizerName = Literal["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "lion"]
ScheduleName = Literal["constant", "cosine", "step", "exponential", "one_cycle", "plateau"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]

_SGD_FAMILY = ("sgd", "momentum", "nesterov")


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer."""

    name: OptimizerName = "adam"
    """Update rule; `momentum` and `nesterov` are sgd with momentum 0.9, plain and Nesterov's."""
    learning_rate: float | None = None
    """Step size; null is the optimizer's usual one: 0.01 for sgd, momentum, nesterov and adagrad, 0.001 for adam,
    adamw and rmsprop, 1.0 for adadelta, 0.0001 for lion. It is not scaled with the number of ranks, since the batch
    size is global."""
    scale_with_batch: int | None = None
    """Linear scaling rule: samples per update for which the learning rate is meant, e.g. 256; the rate is multiplied by
    (samples per update / this). null leaves the rate as it is."""
    momentum: float | None = None
    """Momentum of sgd, momentum and nesterov, 0 to less than 1; null is 0 for sgd, else 0.9."""
    weight_decay: float | None = None
    """Decoupled weight decay: each update subtracts learning rate x this x weight, from all trainable variables; null
    is 0.004 for adamw, else none."""
    clip_norm: float | None = None
    """Largest global norm of the gradient (of all variables, averaged over the samples of all ranks); null is no
    limit."""
    clip_value: float | None = None
    """Largest absolute value of each component of that gradient; null is no limit. Not together with clip_norm."""
    ema_momentum: float | None = None
    """Validates and saves an exponential moving average of the weights, with this momentum (e.g. 0.999); null is
    off."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip_norm", "clip_value"):
            value = getattr(self, name)
            expected = "a number greater than 0, or null"
            require(value is None or 0 < value < math.inf, f"training.optimizer.{name}", value, expected)
        for name in ("momentum", "ema_momentum"):
            value = getattr(self, name)
            require(value is None or 0 <= value < 1, f"training.optimizer.{name}", value, "0 to less than 1, or null")
        batch, decay = self.scale_with_batch, self.weight_decay
        require(batch is None or batch >= 1, "training.optimizer.scale_with_batch", batch, "1 or more samples, or null")
        require(decay is None or 0 <= decay < math.inf, "training.optimizer.weight_decay", decay, "0 or more, or null")
        require(
            self.momentum is None or self.name in _SGD_FAMILY,
            "training.optimizer.momentum",
            self.momentum,
            f"null with {self.name}; it is an option of {', '.join(_SGD_FAMILY)}",
        )
        require(
            self.clip_norm is None or self.clip_value is None,
            "training.optimizer.clip_value",
            self.clip_value,
            "null where clip_norm is given",
        )


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate changes with the updates."""

    name: ScheduleName = "constant"
    """`cosine` falls to final_fraction of the rate at the end of training; `step` is multiplied by decay_factor every
    decay_epochs; `exponential` by decay_factor per epoch, smoothly; `one_cycle` rises from 1/25 of the rate to all of
    it over 30 % of training and falls to 1/250000; `plateau` is multiplied by decay_factor when val_loss has not fallen
    for `patience` epochs."""
    warmup_epochs: float = 0.0
    """Epochs (also a fraction) over which the rate rises linearly from near 0; the schedule begins after them."""
    final_fraction: float = 0.0
    """Of `cosine`: where it ends, as a share of the learning rate."""
    decay_factor: float = 0.1
    """Of `step`, `exponential` and `plateau`: the factor."""
    decay_epochs: float = 30.0
    """Of `step`: epochs between two decays."""
    patience: int = 10
    """Of `plateau`: epochs without progress before a decay."""

    def __post_init__(self) -> None:
        epochs = self.warmup_epochs
        require(0 <= epochs < math.inf, "training.schedule.warmup_epochs", epochs, "0 or more epochs")
        fraction, factor = self.final_fraction, self.decay_factor
        require(0 <= fraction <= 1, "training.schedule.final_fraction", fraction, "a share from 0 to 1")
        require(0 < factor <= 1, "training.schedule.decay_factor", factor, "greater than 0, up to 1")
        require(0 < self.decay_epochs < math.inf, "training.schedule.decay_epochs", self.decay_epochs, "greater than 0")
        require(self.patience >= 1, "training.schedule.patience", self.patience, "1 or more epochs")


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """When to stop before the last epoch; all ranks decide alike, since they see the same metrics."""

    patience: int | None = None
    """Epochs without progress after which training stops; null never stops early."""
    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    """What has to get better: a falling val_loss, or a rising val_accuracy."""
    min_delta: float = 0.0
    """Least change that counts as progress."""
    restore_best: bool = True
    """The trained model has the weights of the best epoch, rather than those of the last."""

    def __post_init__(self) -> None:
        patience, delta = self.patience, self.min_delta
        require(
            patience is None or patience >= 1, "training.early_stopping.patience", patience, "1 or more epochs, or null"
        )
        require(0 <= delta < math.inf, "training.early_stopping.min_delta", delta, "0 or more")


@dataclass(frozen=True)
class HorovodConfig:
    """How ranks exchange gradients."""

    compression: Literal["none", "fp16"] = "none"
    """`fp16` sends gradients in 16 bits: half the bytes, rounded; values beyond 65,504 become infinite."""
    reduction: Literal["average", "adasum"] = "average"
    """`adasum` adds what is orthogonal and averages what is parallel; it needs Horovod built with MPI and a number of
    ranks that is a power of two."""
    fusion_threshold_mb: float | None = None
    """Gradients are sent together in buffers of up to this many MiB; null is Horovod's own choice."""
    cycle_time_ms: float | None = 1.0
    """Milliseconds between two rounds of communication; null is Horovod's own choice, which in 0.28.1 is no pause at
    all: its threads then take half of a core from each rank, to ask whether there is anything to do."""
    timeline: str | None = None
    """File, on the machine of rank 0, for Horovod's timeline (open it at chrome://tracing); null writes none."""

    def __post_init__(self) -> None:
        size, time = self.fusion_threshold_mb, self.cycle_time_ms
        require(
            size is None or 0 <= size < math.inf, "training.horovod.fusion_threshold_mb", size, "0 or more MiB, or null"
        )
        require(
            time is None or 0 < time < math.inf,
            "training.horovod.cycle_time_ms",
            time,
            "a positive time in ms, or null",
        )
        require(self.timeline != "", "training.horovod.timeline", self.timeline, "a file, or null")
