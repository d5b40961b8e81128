"""Section ``training.optimizer``."""

import math
from dataclasses import dataclass
from typing import Literal

from convoy.config.validation import require

OptimizerName = Literal["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "lion"]

_SGD_FAMILY = ("sgd", "momentum", "nesterov")


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer."""

    name: OptimizerName = "adam"
    """Update rule; `momentum` and `nesterov` are sgd with momentum 0.9, plain and Nesterov's."""
    learning_rate: float | None = None
    """Step size; null is the optimizer's default: 0.01 for sgd, momentum, nesterov and adagrad, 0.001 for adam,
    adamw and rmsprop, 1.0 for adadelta, 0.0001 for lion. It is not scaled with the number of ranks, since the batch
    size is global."""
    scale_with_batch: int | None = None
    """Linear scaling rule: the number of samples per update that the learning rate is chosen for, e.g. 256; the rate
    is multiplied by (samples per update / this). null does not scale the rate."""
    momentum: float | None = None
    """Momentum of sgd, momentum and nesterov, 0 to less than 1; null is 0 for sgd, otherwise 0.9."""
    weight_decay: float | None = None
    """Decoupled weight decay: each update subtracts learning rate x this x weight, from all trainable variables; null
    is 0.004 for adamw, otherwise none."""
    clip_norm: float | None = None
    """Largest global norm of the gradient (of all variables, averaged over the samples of all ranks); null sets
    no limit."""
    clip_value: float | None = None
    """Largest absolute value of each component of that gradient; null sets no limit. Excludes clip_norm."""
    ema_momentum: float | None = None
    """Momentum (e.g. 0.999) of an exponential moving average of the weights, which is validated and saved instead of
    the weights; null is off."""

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


USUAL_RATES: dict[str, float] = {
    "sgd": 0.01,  # Keras' default, for the three of its family
    "momentum": 0.01,
    "nesterov": 0.01,
    "adam": 0.001,  # Kingma & Ba 2015, algorithm 1
    "adamw": 0.001,  # Loshchilov & Hutter 2019, algorithm 2
    "rmsprop": 0.001,  # Tieleman & Hinton 2012, lecture 6e
    "adagrad": 0.01,  # PyTorch's default; Keras' 0.001 hardly moves, and Duchi et al. 2011 name none
    "adadelta": 1.0,  # Zeiler 2012: the update has no rate
    "lion": 0.0001,  # Chen et al. 2023: 3 to 10 times smaller than AdamW's
}


def configured_rate(config: OptimizerConfig) -> float:
    """Return the configured learning rate, or the optimizer's default, before any scaling."""
    return USUAL_RATES[config.name] if config.learning_rate is None else config.learning_rate
