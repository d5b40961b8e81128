"""Section ``training``."""

from dataclasses import dataclass, field
from typing import Literal

from convoy.config.augmentation import AugmentationConfig
from convoy.config.checkpoint import CheckpointConfig
from convoy.config.early_stopping import EarlyStoppingConfig
from convoy.config.horovod import HorovodConfig
from convoy.config.optimizer import OptimizerConfig
from convoy.config.schedule import ScheduleConfig
from convoy.config.validation import require

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


@dataclass(frozen=True)
class TrainingConfig:
    """Training of the network."""

    num_workers: int = 2
    """Horovod ranks, one Spark task each; 0 trains in the driver's process, for debugging."""
    epochs: int = 5
    """Passes over the training split."""
    global_batch_size: int = 128
    """Samples per step, summed over all ranks."""
    accumulation_steps: int = 1
    """Steps whose gradients are summed into one update: equivalent to a batch that many times larger, with less
    memory."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    cache: Literal["auto", "memory", "none"] = "auto"
    """`memory` keeps the decoded split in memory, `none` reads it from its files in every epoch; `auto` keeps splits
    of at most 4 GiB in memory. The order of samples depends on this setting."""
    shuffle_window_mb: float = 256.0
    """MiB of decoded samples that are shuffled together if the split is not kept in memory."""
    class_balance: Literal["none", "weights", "oversample"] = "none"
    """`weights` weights samples by the dataset's class weights; `oversample` repeats samples of the smaller classes,
    so that an epoch has the same number of samples of each class."""
    reader: Literal["convoy", "petastorm"] = "convoy"
    """`petastorm` reads as in Petastorm's tutorials, for comparison: slower, and an epoch does not contain each sample
    exactly once."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    label_smoothing: float = 0.0
    """Share of each label that is spread evenly over all classes, 0 to less than 1; also used in validation's loss."""
    precision: Precision = "float32"
    """`mixed_*` computes in 16 bits and keeps the weights, the last layer and the saved model in float32;
    `mixed_float16` scales the loss and skips steps whose gradients are not finite."""
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    horovod: HorovodConfig = field(default_factory=HorovodConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    max_restarts: int = 2
    """Number of times that training is restarted from the newest checkpoint after the loss of a rank."""
    elastic: bool = False
    """Elastic training: use between min_workers and num_workers ranks, depending on free Spark slots. Shrinks after a
    failure, grows at epoch boundaries; the global batch size does not change."""
    min_workers: int = 1
    """Smallest number of ranks of elastic training."""
    stall_timeout: float = 300.0
    """Seconds without progress (at least 120 before the first step) after which the ranks are stopped (and restarted,
    up to max_restarts times)."""
    find_learning_rate: bool = False
    """Instead of training, increase the learning rate over an epoch (100 to 300 updates), and log the loss curve with a
    proposed rate."""
    resume: str | None = None
    """MLflow run to resume from its newest checkpoint; `--resume <run id>` is the same."""
    seed: int = 0
    """Seed of the initial weights, the order of samples, augmentation and dropout."""

    def __post_init__(self) -> None:
        require(self.num_workers >= 0, "training.num_workers", self.num_workers, "0 or more ranks")
        require(self.seed >= 0, "training.seed", self.seed, "0 or more")
        require(self.max_restarts >= 0, "training.max_restarts", self.max_restarts, "0 or more")
        self._check_elastic()
        require(self.stall_timeout > 0, "training.stall_timeout", self.stall_timeout, "more than 0 seconds")
        require(self.epochs >= 1, "training.epochs", self.epochs, "at least 1")
        require(
            self.schedule.warmup_epochs <= self.epochs,
            "training.schedule.warmup_epochs",
            self.schedule.warmup_epochs,
            f"at most training.epochs, {self.epochs}",
        )
        require(
            self.resume is None or not self.find_learning_rate,
            "training.find_learning_rate",
            self.find_learning_rate,
            "false with training.resume: a sweep starts from initial weights",
        )
        steps, smoothing = self.accumulation_steps, self.label_smoothing
        require(steps >= 1, "training.accumulation_steps", steps, "1 or more steps")
        require(0 <= smoothing < 1, "training.label_smoothing", smoothing, "0 to less than 1")
        window = self.shuffle_window_mb
        require(0 < window < float("inf"), "training.shuffle_window_mb", window, "a number of MiB above 0")
        require(
            self.reader == "convoy" or (self.class_balance != "oversample" and not self.augmentation.mixup),
            "training.reader",
            self.reader,
            "convoy, with training.class_balance oversample or training.augmentation.mixup",
        )
        require(
            self.global_batch_size >= max(1, self.num_workers),
            "training.global_batch_size",
            self.global_batch_size,
            f"at least one sample for each of the {max(1, self.num_workers)} ranks",
        )

    def _check_elastic(self) -> None:
        whole = self.num_workers > 0 and self.reader == "convoy"
        require(
            whole or not self.elastic,
            "training.elastic",
            self.elastic,
            "false with training.num_workers 0 or reader petastorm",
        )
        most = self.num_workers if self.elastic else 1
        require(
            1 <= self.min_workers <= most,
            "training.min_workers",
            self.min_workers,
            f"1 to training.num_workers, {most}" if self.elastic else "1, unless training.elastic is true",
        )
