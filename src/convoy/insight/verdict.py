"""Underfitting, balanced or overfitting: a rule on the training curves. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

GAP = 0.05  # between the accuracies
LOSS_RISE = 0.10  # of the validation loss above its lowest, as a share of it
SKILL = 0.80  # of the way from guessing to 100%
STILL_RISING = 0.01  # of validation accuracy over the last epoch


@dataclass(frozen=True)
class Verdict:
    """Judgement of the training curves.

    Attributes:
        name: The verdict; ``unknown`` if there are no curves.
        reason: The condition that led to it, with the run's numbers.
        advice: Usual remedies.
    """

    name: Literal["underfitting", "balanced", "overfitting", "unknown"]
    reason: str
    advice: str


RULE = (
    f"Overfitting, where the training accuracy of the last epoch is more than {100 * GAP:.0f} percentage points above"
    f" the validation accuracy, or where the validation loss is more than {LOSS_RISE:.0%} above its lowest, while the"
    " training loss has fallen since. Else underfitting, where the training accuracy is less than"
    f" {SKILL:.0%} of the way from guessing (1 / classes) to 100%, or where the validation accuracy is more than"
    f" {100 * STILL_RISING:.0f} percentage point above that of every epoch before. Else balanced."
)
"""The rule in words."""


def verdict(history: Sequence[Mapping[str, float]], classes: int) -> Verdict:
    """Judge the training curves.

    Training metrics are means over an epoch, with dropout and augmentation active, so they lag behind validation
    metrics, and the true gap is larger than the measured one.

    Args:
        history: For each epoch, ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``; epochs in which one of them is
            missing or not finite are skipped.
        classes: Number of classes.
    """
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    epochs = [row for row in history if all(math.isfinite(row.get(name, math.nan)) for name in names)]
    if not epochs:
        return Verdict("unknown", "there is no epoch with losses and accuracies", "train for one epoch at least")
    last, chance = epochs[-1], 1 / max(2, classes)
    lowest = min(epochs, key=lambda row: row["val_loss"])
    gap = last["accuracy"] - last["val_accuracy"]
    rise = last["val_loss"] / lowest["val_loss"] - 1 if lowest["val_loss"] > 0 else 0.0
    skill = (last["accuracy"] - chance) / (1 - chance)
    regularise = "more or augmented data, dropout, L2, fewer epochs (early stopping), or a smaller network"
    if gap > GAP:
        reason = (
            f"the training accuracy, {last['accuracy']:.2%}, is {100 * gap:.1f} percentage points above the validation"
            f" accuracy, {last['val_accuracy']:.2%} (more than {100 * GAP:.0f})"
        )
        return Verdict("overfitting", reason, regularise)
    if rise > LOSS_RISE and last["loss"] < lowest["loss"]:
        reason = (
            f"the validation loss, {last['val_loss']:.4f}, is {rise:.0%} above its lowest, {lowest['val_loss']:.4f}"
            f" (more than {LOSS_RISE:.0%}), while the training loss has fallen from {lowest['loss']:.4f} to"
            f" {last['loss']:.4f}"
        )
        return Verdict("overfitting", reason, regularise)
    if skill < SKILL:
        reason = (
            f"the training accuracy, {last['accuracy']:.2%}, is {max(0.0, skill):.0%} of the way from guessing"
            f" ({chance:.1%}) to 100% (less than {SKILL:.0%})"
        )
        return Verdict(
            "underfitting", reason, "more epochs, another learning rate, a larger network, or cleaner labels"
        )
    step = last["val_accuracy"] - max((row["val_accuracy"] for row in epochs[:-1]), default=math.inf)
    if step > STILL_RISING:
        reason = (
            f"the validation accuracy rose by {100 * step:.1f} percentage points in the last epoch (more than"
            f" {100 * STILL_RISING:.0f}): training ended too early"
        )
        return Verdict("underfitting", reason, "more epochs")
    reason = (
        f"training and validation accuracy, {last['accuracy']:.2%} and {last['val_accuracy']:.2%}, are"
        f" {100 * abs(gap):.1f} percentage points apart (at most {100 * GAP:.0f} are balanced), and the validation loss"
        f" is {rise:.0%} above its lowest (at most {LOSS_RISE:.0%})"
    )
    if gap < -GAP:
        reason = (
            f"the validation accuracy, {last['val_accuracy']:.2%}, is above the training accuracy,"
            f" {last['accuracy']:.2%}, as it is with much dropout or augmentation"
        )
    return Verdict("balanced", reason, "nothing needs to be done about the fit")
