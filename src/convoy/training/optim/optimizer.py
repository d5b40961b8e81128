"""The configured optimizer, and a distributed one that averages gradients over ranks before it applies them."""

from typing import Any

import keras
import tensorflow as tf

from convoy.config import OptimizerConfig
from convoy.config.optimizer import configured_rate
from convoy.training.callbacks.timing import Stopwatch
from convoy.training.distributed.collective import Collective
from convoy.training.optim.schedule import Schedule

_CLASSES: dict[str, tuple[type[keras.optimizers.Optimizer], dict[str, Any]]] = {
    "sgd": (keras.optimizers.SGD, {}),
    "momentum": (keras.optimizers.SGD, {"momentum": 0.9}),
    "nesterov": (keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (keras.optimizers.Adam, {}),
    "adamw": (keras.optimizers.AdamW, {}),
    "rmsprop": (keras.optimizers.RMSprop, {}),
    "adagrad": (keras.optimizers.Adagrad, {}),
    "adadelta": (keras.optimizers.Adadelta, {}),
    "lion": (keras.optimizers.Lion, {}),
}


def build_optimizer(
    config: OptimizerConfig, rate: float | Schedule | None = None, *, scale_loss: bool = False
) -> keras.optimizers.Optimizer:
    """Return the plain Keras optimizer.

    Args:
        config: Section ``training.optimizer``.
        rate: Result of ``schedule.learning_rate``; None is the configured or default rate.
        scale_loss: Whether to scale the loss, as float16 requires (``keras.optimizers.LossScaleOptimizer``).
    """
    cls, options = _CLASSES[config.name]
    if rate is None:
        rate = configured_rate(config)
    given = {
        "momentum": config.momentum,
        "weight_decay": config.weight_decay,
        "global_clipnorm": config.clip_norm,
        "clipvalue": config.clip_value,
        "ema_momentum": config.ema_momentum,
    }
    options = options | {name: value for name, value in given.items() if value is not None}
    optimizer = cls(learning_rate=rate, use_ema=config.ema_momentum is not None, **options)
    return keras.optimizers.LossScaleOptimizer(optimizer) if scale_loss else optimizer


def distribute(
    optimizer: keras.optimizers.Optimizer, collective: Collective, accumulation_steps: int = 1
) -> keras.optimizers.Optimizer:
    """Return an optimizer with the same settings whose ``apply`` first averages the gradients over the ranks.

    It is a subclass of the optimizer's class, defined here, so that ``fit``, callbacks and schedules work as usual
    (Horovod's Keras wrapper predates Keras 3). Everything that the class does with gradients happens after the average:
    clipping, and a ``LossScaleOptimizer``'s check that they are finite, so that all ranks make the same decision. Two
    attributes, plain ``tf.Variable``s, control it (``GlobalMetrics`` sets them), and one measures it (for ``Timing``);
    they are not part of the optimizer's state, so they are neither saved nor broadcast:

    * ``gradient_weight`` (float32, 1 by default) scales this rank's gradients before the average; see
      ``accumulation.accumulated_weight``.
    * ``updates`` (bool, true by default): whether the step updates the weights. With ``accumulation_steps`` > 1, a step
      without an update only adds to this rank's sum of gradients, without communication. The sum is not part of the
      state either: save an optimizer only after a step with an update. Keras' accumulation weights all steps equally,
      carries a remainder into the next epoch, and averages weights (EMA) and advances schedules at steps without an
      update.
    * ``communication`` measures how long it takes to average this rank's gradients, including the wait for slower
      ranks.
    """
    base = type(optimizer)

    class Distributed(base):  # type: ignore[misc, valid-type]
        def build(self, variables: Any) -> None:
            super().build(variables)
            if accumulation_steps > 1:
                self.sums = [tf.Variable(tf.zeros(v.shape, v.dtype), trainable=False) for v in variables]

        def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
            # Weight 0 also removes a gradient that is not finite.
            weighted = [
                None if g is None else tf.math.multiply_no_nan(g, tf.cast(self.gradient_weight, g.dtype)) for g in grads
            ]
            if accumulation_steps == 1:
                return super().apply(self._average(weighted), trainable_variables)
            if not self.built:
                self.build(list(trainable_variables))
            apply = super().apply

            def update() -> tf.Tensor:
                total = [None if g is None else g + s for g, s in zip(weighted, self.sums, strict=True)]
                apply(self._average(total), trainable_variables)
                for s in self.sums:
                    s.assign(tf.zeros_like(s))
                return tf.constant(True)

            def collect() -> tf.Tensor:
                for g, s in zip(weighted, self.sums, strict=True):
                    if g is not None:
                        s.assign_add(g)
                return tf.constant(False)

            return tf.cond(self.updates, update, collect)

        def _average(self, grads: list[Any]) -> Any:
            return self.communication.around(grads, lambda: collective.average_gradients(grads))

    distributed = Distributed.from_config(optimizer.get_config())
    distributed.gradient_weight = tf.Variable(1.0, trainable=False, dtype=tf.float32)
    distributed.updates = tf.Variable(True, trainable=False)
    distributed.communication = Stopwatch()
    return distributed
