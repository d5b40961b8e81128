"""The optimizer of the configuration, and the one that averages gradients over ranks before it applies them."""

from typing import Any

import keras
import tensorflow as tf

from convoy.config import OptimizerConfig
from convoy.training.collective import Collective

_CLASSES: dict[str, tuple[type[keras.optimizers.Optimizer], dict[str, Any]]] = {
    "sgd": (keras.optimizers.SGD, {}),
    "nesterov": (keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (keras.optimizers.Adam, {}),
    "adamw": (keras.optimizers.AdamW, {}),
    "rmsprop": (keras.optimizers.RMSprop, {}),
    "adagrad": (keras.optimizers.Adagrad, {}),
    "adadelta": (keras.optimizers.Adadelta, {}),
}


def build_optimizer(config: OptimizerConfig) -> keras.optimizers.Optimizer:
    """Return the plain Keras optimizer."""
    cls, options = _CLASSES[config.name]
    return cls(learning_rate=config.learning_rate, **options)


def distribute(optimizer: keras.optimizers.Optimizer, collective: Collective) -> keras.optimizers.Optimizer:
    """Return an optimizer of the same settings whose ``apply`` first averages the gradients over the ranks.

    It is a subclass of the optimizer's class, made here, so that ``fit``, callbacks and schedules work as usual
    (Horovod's own Keras wrapper predates Keras 3). Its attribute ``gradient_weight`` (a ``tf.Variable``, 1 by default)
    scales this rank's gradients before the average; see ``convoy.dataset.plan.gradient_weight``.
    """
    base = type(optimizer)

    class Distributed(base):  # type: ignore[misc, valid-type]
        def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
            weighted = [None if g is None else g * tf.cast(self.gradient_weight, g.dtype) for g in grads]
            return super().apply(collective.average_gradients(weighted), trainable_variables)

    distributed = Distributed.from_config(optimizer.get_config())
    # A plain tf.Variable: it is no part of the optimizer's state, so it is neither saved nor broadcast.
    distributed.gradient_weight = tf.Variable(1.0, trainable=False, dtype=tf.float32)
    return distributed
