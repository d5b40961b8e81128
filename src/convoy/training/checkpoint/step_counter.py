"""The current epoch and step of training: shared by the callbacks, saved in checkpoints."""

from typing import Any

import keras


class StepCounter:
    """Epoch and step of the epoch plan, both from 0; ``fit`` itself counts an epoch's steps from where it resumed.

    Args:
        steps: Steps in an epoch.
        epoch: Epoch to start in.
        step: Step to start with.
    """

    def __init__(self, steps: int, epoch: int = 0, step: int = 0) -> None:
        self.steps, self.epoch, self.step = steps, epoch, step
        self.start = (epoch, step)

    @property
    def resumed(self) -> bool:
        """Return whether an earlier attempt began this epoch."""
        return self.start == (self.epoch, self.start[1]) and self.start[1] > 0

    @property
    def last(self) -> bool:
        """Return whether this is the epoch's last step."""
        return self.step == self.steps - 1


class StepCounterCallback(keras.callbacks.Callback):
    """Updates the position for the callbacks after it; must be the first callback.

    ``fit`` runs the same number of steps in every epoch. A resumed epoch has fewer steps left: it is ended with
    ``stop_training``, which is reset after the epoch's validation.

    Args:
        position: The position.
    """

    def __init__(self, position: StepCounter) -> None:
        super().__init__()
        self.position = position
        self._cut_short = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Move to the epoch's first step."""
        self.position.epoch = epoch
        self.position.step = (self.position.start[1] if epoch == self.position.start[0] else 0) - 1

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Move to the next step."""
        self.position.step += 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """End a resumed epoch after its last step."""
        if self.position.resumed and self.position.last:
            self.model.stop_training = self._cut_short = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Continue with the next epoch, unless another callback stopped training."""
        if self._cut_short:
            self.model.stop_training = self._cut_short = False
