"""The exponential moving average of the weights, which is validated and saved instead of the weights if it is on."""

from typing import Any

import keras
import numpy as np


class ValidateAverages(keras.callbacks.Callback):
    """Assigns the moving averages to the network's weights during validation.

    Unlike ``keras.callbacks.SwapEMAWeights``, which swaps by addition and subtraction and so rounds the weights, this
    is exact.
    """

    def __init__(self) -> None:
        super().__init__()
        self._trained: list[np.ndarray] = []

    def on_test_begin(self, logs: Any = None) -> None:
        """Assign the averages to the weights."""
        weights = self.model.get_weights()
        self.model.set_weights(validated_weights(self.model))
        self._trained = weights

    def on_test_end(self, logs: Any = None) -> None:
        """Restore the trained weights."""
        self.model.set_weights(self._trained)


def validated_weights(model: keras.Model) -> list[np.ndarray]:
    """Return the weights that validation uses, in the order of ``set_weights``: moving averages where they exist."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # of a LossScaleOptimizer
    averages = {}
    if optimizer.use_ema:
        trained, averaged = model.trainable_variables, optimizer._model_variables_moving_average
        averages = {id(v): average for v, average in zip(trained, averaged, strict=True)}
    return [keras.ops.convert_to_numpy(averages.get(id(v), v)) for v in model.weights]
