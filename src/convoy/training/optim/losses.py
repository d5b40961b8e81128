"""The loss and the accuracy, for labels that are class numbers or probabilities (with mixup)."""

from collections.abc import Callable
from typing import Any

import keras

Tensor = Any


def crossentropy(label_smoothing: float = 0.0) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the categorical cross-entropy as a function for ``compile``.

    Args:
        label_smoothing: Share s of each label that is spread evenly over the K classes: the target is
            (1 - s) x label + s / K (C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
            2016, section 7).

    Returns:
        A function of (labels, probabilities (N, K)) that returns one loss per sample (N,), natural logarithm; labels
        are class numbers (N,) or probabilities (N, K). Keras weights and averages it.
    """

    def loss(labels: Tensor, probabilities: Tensor) -> Tensor:
        if len(labels.shape) == 1 and not label_smoothing:
            return keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        classes = probabilities.shape[-1]
        if len(labels.shape) == 1:
            labels = keras.ops.one_hot(keras.ops.cast(labels, "int32"), classes, dtype=probabilities.dtype)
        target = keras.ops.cast(labels, probabilities.dtype) * (1 - label_smoothing) + label_smoothing / classes
        return keras.losses.categorical_crossentropy(target, probabilities)

    return loss


def accuracy(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Return 1 if the most probable class is the label (or the label's most probable class), else 0: float32 (N,)."""
    expected = keras.ops.argmax(labels, axis=-1) if len(labels.shape) == 2 else labels
    hits = keras.ops.equal(
        keras.ops.cast(expected, "int64"), keras.ops.cast(keras.ops.argmax(probabilities, -1), "int64")
    )
    return keras.ops.cast(hits, "float32")
