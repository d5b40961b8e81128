"""Callbacks that the configured optimizer and schedule need."""

from typing import Any

from convoy.config import TrainingConfig
from convoy.training.callbacks.early_stopping import EarlyStopping, ReduceLROnPlateau
from convoy.training.callbacks.ema import ValidateAverages
from convoy.training.callbacks.sync_batch_norm import SyncBatchNorm
from convoy.training.distributed.collective import Collective
from convoy.training.events import Emit
from convoy.training.optim.accumulation import updates_per_epoch
from convoy.training.optim.schedule import base_rate


def optimisation_callbacks(config: TrainingConfig, collective: Collective, rows: int, emit: Emit) -> list[Any]:
    """Return the callbacks of optimizer and schedule; they follow ``GlobalMetrics`` and ``ProgressReporter``.

    Args:
        config: Section ``training``.
        collective: The ranks.
        rows: Samples of the training split.
        emit: Takes events; used on rank 0.
    """
    callbacks: list[Any] = [SyncBatchNorm(collective)]
    if config.optimizer.ema_momentum is not None:
        callbacks.append(ValidateAverages())
    if config.schedule.name == "plateau":
        updates = updates_per_epoch(rows, config.global_batch_size, config.accumulation_steps)
        rate = base_rate(config.optimizer, config.global_batch_size * config.accumulation_steps)
        callbacks.append(ReduceLROnPlateau(config.schedule, rate, updates))
    if config.early_stopping.patience is not None:
        callbacks.append(EarlyStopping(config.early_stopping, emit if collective.rank == 0 else lambda _: None))
    return callbacks
