"""Batch normalisation's moving statistics: each rank gathers them from its own samples, the model has one set."""

from typing import Any

import keras
import numpy as np

from convoy.training.distributed.collective import Collective


def average_statistics(model: keras.Model, collective: Collective) -> None:
    """Set all float variables that are not trained to their mean over the ranks; all ranks have to call it."""
    variables = [v for v in model.non_trainable_weights if keras.backend.is_float_dtype(v.dtype)]
    if collective.size == 1 or not variables:
        return
    values = [keras.ops.convert_to_numpy(v).astype(np.float64) for v in variables]
    means = collective.sum(np.concatenate([value.ravel() for value in values])) / collective.size
    ends = np.cumsum([value.size for value in values])
    for variable, value, mean in zip(variables, values, np.split(means, ends[:-1]), strict=True):
        variable.assign(mean.reshape(value.shape).astype(variable.dtype))


class SyncBatchNorm(keras.callbacks.Callback):
    """Averages the moving statistics over the ranks before each validation, so at the end of training as well."""

    def __init__(self, collective: Collective) -> None:
        super().__init__()
        self.collective = collective

    def on_test_begin(self, logs: Any = None) -> None:
        """Average."""
        average_statistics(self.model, self.collective)
