"""Gradient accumulation: the steps that update the weights, and the weight of a step. Pure functions.

``accumulation_steps`` successive steps make one update, which equals that of a batch with all of their samples. An
epoch ends with an update, so its last update may have fewer steps.
"""

from convoy.dataset.reading.epoch_plan import gradient_weight, steps_per_epoch


def updates_per_epoch(rows: int, global_batch: int, accumulation_steps: int) -> int:
    """Return the number of updates in an epoch."""
    return steps_per_epoch(rows, global_batch * accumulation_steps)


def ends_update(rows: int, global_batch: int, accumulation_steps: int, step: int) -> bool:
    """Return whether the weights are updated after this step of an epoch."""
    return (step + 1) % accumulation_steps == 0 or step == steps_per_epoch(rows, global_batch) - 1


def accumulated_weight(
    rows: int, global_batch: int, accumulation_steps: int, step: int, rank: int, world_size: int
) -> float:
    """Return the weight of a rank's mean gradient in a step.

    It is ``gradient_weight`` times the step's share of its update's samples.

    The sum over the update's steps of the averages over the ranks is then the mean over all the update's samples.
    """
    large = global_batch * accumulation_steps
    together = min(large, rows - step // accumulation_steps * large)
    own = min(global_batch, rows - step * global_batch)
    return gradient_weight(rows, global_batch, step, rank, world_size) * own / together
