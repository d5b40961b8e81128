"""Where training is in its plan: shared by the callbacks, saved in checkpoints."""

from typing import Any

import keras


class StepCounter:
    """Epoch and step, both from 0, counted in the plan: ``fit`` counts an epoch's steps from where it resumed.

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
        """Whether this epoch was begun by an earlier attempt."""
        return self.start == (self.epoch, self.start[1]) and self.start[1] > 0

    @property
    def last(self) -> bool:
        """Whether this is the epoch's last step."""
        return self.step == self.steps - 1


class StepCounterCallback(keras.callbacks.Callback):
    """Keeps the position, for the callbacks after it; it has to be the first one.

    ``fit`` has the same number of steps for every epoch. One that was resumed has fewer left: it is ended as by
    ``stop_training``, which is taken back when the epoch's validation is over.

    Args:
        position: The position.
    """

    def __init__(self, position: StepCounter) -> None:
        super().__init__()
        self.position = position
        self._cut_short = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Go to the epoch's first step."""
        self.position.epoch = epoch
        self.position.step = (self.position.start[1] if epoch == self.position.start[0] else 0) - 1

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Go to the next step."""
        self.position.step += 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """End an epoch that was resumed."""
        if self.position.resumed and self.position.last:
            self.model.stop_training = self._cut_short = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Go on with the next epoch, unless another callback stops."""
        if self._cut_short:
            self.model.stop_training = self._cut_short = False
