"""Section ``training.early_stopping``."""

import math
from dataclasses import dataclass
from typing import Literal

from convoy.config.validation import require


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """Early stopping. All ranks make the same decision, since they have the same metrics."""

    patience: int | None = None
    """Epochs without progress after which training stops; null never stops early."""
    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    """Metric that has to improve: a falling val_loss, or a rising val_accuracy."""
    min_delta: float = 0.0
    """Smallest change that counts as progress."""
    restore_best: bool = True
    """Whether the trained model has the weights of the best epoch instead of those of the last one."""

    def __post_init__(self) -> None:
        patience, delta = self.patience, self.min_delta
        require(
            patience is None or patience >= 1, "training.early_stopping.patience", patience, "1 or more epochs, or null"
        )
        require(0 <= delta < math.inf, "training.early_stopping.min_delta", delta, "0 or more")
