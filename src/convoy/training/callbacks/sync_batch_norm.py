"""Synchronisation of batch normalisation's moving statistics, which each rank collects from its own samples."""

from typing import Any

import keras
import numpy as np

from convoy.training.distributed.collective import Collective


def average_statistics(model: keras.Model, collective: Collective) -> None:
    """Set all non-trainable float variables to their mean over the ranks; all ranks have to call this."""
    variables = [v for v in model.non_trainable_weights if keras.backend.is_float_dtype(v.dtype)]
    if collective.size == 1 or not variables:
        return
    values = [keras.ops.convert_to_numpy(v).astype(np.float64) for v in variables]
    means = collective.sum(np.concatenate([value.ravel() for value in values])) / collective.size
    ends = np.cumsum([value.size for value in values])
    for variable, value, mean in zip(variables, values, np.split(means, ends[:-1]), strict=True):
        variable.assign(mean.reshape(value.shape).astype(variable.dtype))


class SyncBatchNorm(keras.callbacks.Callback):
    """Averages the moving statistics over the ranks before each validation, and so at the end of training too."""

    def __init__(self, collective: Collective) -> None:
        super().__init__()
        self.collective = collective

    def on_test_begin(self, logs: Any = None) -> None:
        """Average the statistics."""
        average_statistics(self.model, self.collective)
