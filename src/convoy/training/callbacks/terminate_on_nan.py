"""End of a training whose loss is not finite."""

import math
from collections.abc import Callable
from typing import Any

import keras

from convoy.errors import TrainingError


class TerminateOnNaN(keras.callbacks.Callback):
    """Raises ``TrainingError`` when the loss of an epoch is not finite; all ranks have the same loss.

    Args:
        find: Returns the path of a training sample with values that are not finite, if any (see
            ``dataset.ingest.nan_check``).
    """

    def __init__(self, find: Callable[[], str | None] = lambda: None) -> None:
        super().__init__()
        self.find = find

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check the loss."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            problem, sample = f"the loss is {loss} in epoch {epoch + 1}", self.find()
            if sample is not None:
                raise TrainingError(
                    f"{problem}: training sample {sample!r}, or its weight, is not finite in float32; remove it, and"
                    " ingest the dataset again"
                )
            raise TrainingError(f"{problem}; lower training.optimizer.learning_rate, or check the images")
