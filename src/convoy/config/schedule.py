"""Section ``training.schedule``."""

import math
from dataclasses import dataclass
from typing import Literal

from convoy.config.validation import require

ScheduleName = Literal["constant", "cosine", "step", "exponential", "one_cycle", "plateau"]


@dataclass(frozen=True)
class ScheduleConfig:
    """Schedule of the learning rate."""

    name: ScheduleName = "constant"
    """`cosine` falls to final_fraction of the rate at the end of training; `step` is multiplied by decay_factor every
    decay_epochs; `exponential` by decay_factor per epoch, smoothly; `one_cycle` rises from 1/25 of the rate to all of
    it over 30 % of training and falls to 1/250000; `plateau` is multiplied by decay_factor when val_loss has not fallen
    for `patience` epochs."""
    warmup_epochs: float = 0.0
    """Epochs (may be a fraction) over which the rate rises linearly from near 0; the schedule begins after them."""
    final_fraction: float = 0.0
    """`cosine`: final rate, as a share of the learning rate."""
    decay_factor: float = 0.1
    """`step`, `exponential` and `plateau`: factor of each decay."""
    decay_epochs: float = 30.0
    """`step`: epochs between two decays."""
    patience: int = 10
    """`plateau`: epochs without progress before a decay."""

    def __post_init__(self) -> None:
        epochs = self.warmup_epochs
        require(0 <= epochs < math.inf, "training.schedule.warmup_epochs", epochs, "0 or more epochs")
        fraction, factor = self.final_fraction, self.decay_factor
        require(0 <= fraction <= 1, "training.schedule.final_fraction", fraction, "a share from 0 to 1")
        require(0 < factor <= 1, "training.schedule.decay_factor", factor, "greater than 0, up to 1")
        require(0 < self.decay_epochs < math.inf, "training.schedule.decay_epochs", self.decay_epochs, "greater than 0")
        require(self.patience >= 1, "training.schedule.patience", self.patience, "1 or more epochs")
