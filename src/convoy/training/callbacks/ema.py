"""The exponential moving average of the weights: what is validated, kept and saved where it is switched on."""

from typing import Any

import keras
import numpy as np


class ValidateAverages(keras.callbacks.Callback):
    """Puts the moving averages in the network's place while it is validated.

    As ``keras.callbacks.SwapEMAWeights``, but exactly: that one swaps by adding and subtracting, which rounds the
    weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self._trained: list[np.ndarray] = []

    def on_test_begin(self, logs: Any = None) -> None:
        """Put them in place."""
        weights = self.model.get_weights()
        self.model.set_weights(validated_weights(self.model))
        self._trained = weights

    def on_test_end(self, logs: Any = None) -> None:
        """Go back to the weights that are trained."""
        self.model.set_weights(self._trained)


def validated_weights(model: keras.Model) -> list[np.ndarray]:
    """Return the weights that validation uses, as ``set_weights`` takes them: averages where there are any."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # of a LossScaleOptimizer
    averages = {}
    if optimizer.use_ema:
        trained, averaged = model.trainable_variables, optimizer._model_variables_moving_average
        averages = {id(v): average for v, average in zip(trained, averaged, strict=True)}
    return [keras.ops.convert_to_numpy(averages.get(id(v), v)) for v in model.weights]
