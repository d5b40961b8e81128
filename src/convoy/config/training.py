"""Sections ``model`` and ``training``."""

from dataclasses import dataclass, field
from typing import Literal

from convoy.config.checks import require

OptimizerName = Literal["sgd", "nesterov", "adam", "adamw", "rmsprop", "adagrad", "adadelta"]


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    name: str = "lenet5"
    """Architecture: `lenet5` or `mnist_cnn`."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer."""

    name: OptimizerName = "adam"
    """Update rule; `nesterov` is sgd with Nesterov momentum 0.9."""
    learning_rate: float = 0.001
    """Step size; it is not scaled with the number of ranks, since the batch size is global."""

    def __post_init__(self) -> None:
        require(
            self.learning_rate > 0, "training.optimizer.learning_rate", self.learning_rate, "a number greater than 0"
        )


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is trained."""

    num_workers: int = 2
    """Horovod ranks, one Spark task each; 0 trains in the driver's process, for debugging."""
    epochs: int = 5
    """Passes over the training split."""
    global_batch_size: int = 128
    """Samples per optimizer step, summed over all ranks."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    seed: int = 0
    """Seed of the initial weights, the order of samples and dropout."""

    def __post_init__(self) -> None:
        require(self.num_workers >= 0, "training.num_workers", self.num_workers, "0 or more ranks")
        require(self.seed >= 0, "training.seed", self.seed, "0 or more")
        require(self.epochs >= 1, "training.epochs", self.epochs, "at least 1")
        require(
            self.global_batch_size >= max(1, self.num_workers),
            "training.global_batch_size",
            self.global_batch_size,
            f"at least one sample for each of the {max(1, self.num_workers)} ranks",
        )
