"""Networks with auxiliary classifiers, which help training and are not part of the saved model.

C. Szegedy et al., "Going Deeper with Convolutions", 2015 (arXiv 1409.4842), section 5: "their loss gets added to the
total loss of the network with a discount weight (the losses of the auxiliary classifiers were weighted by 0.3)".
"""

from collections.abc import Callable
from typing import Any

import keras

_WEIGHT = 0.3

Function = Callable[[Any, Any], Any]
"""Function of (labels, probabilities (N, K)) that returns a value per sample (N,)."""


def has_auxiliary_heads(model: keras.Model) -> bool:
    """Return whether a network's output is (N, heads, K), the main head first, instead of (N, K)."""
    return len(model.output_shape) == 3


def with_auxiliary_loss(loss: Function) -> Function:
    """Return the loss of probabilities (N, heads, K): that of the main head plus 0.3 times those of the others."""

    def total(labels: Any, probabilities: Any) -> Any:
        main, *others = (loss(labels, probabilities[:, head]) for head in range(probabilities.shape[1]))
        return main + _WEIGHT * sum(others)

    return total


def of_main_head(metric: Function) -> Function:
    """Return the metric of the main head of probabilities (N, heads, K); it keeps its name."""

    def main(labels: Any, probabilities: Any) -> Any:
        return metric(labels, probabilities[:, 0])

    main.__name__ = metric.__name__  # the name in Keras' logs
    return main


class TrainedWithHeads(keras.Model):
    """A network with auxiliary heads that is validated without them, as it is saved."""

    _validates = False  # Keras 3.2 does not pass ``training`` to ``compute_loss``

    def test_step(self, data: Any) -> Any:
        """Validate a batch."""
        self._validates = True
        try:
            return super().test_step(data)
        finally:
            self._validates = False

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **options: Any
    ) -> Any:
        """Return the loss of all heads in training, that of the main head in validation."""
        heads = y_pred[:, :1] if self._validates else y_pred
        return super().compute_loss(x=x, y=y, y_pred=heads, sample_weight=sample_weight, **options)
