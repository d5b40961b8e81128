"""Trainings that never were, for tests of what is made of them."""

import numpy as np

from convoy.tracking.child_runs import ChildRun


def history(epochs=3, final=0.97, rate=1000.0):
    """Metrics of epochs whose accuracy rises to ``final``."""
    accuracies = final * (1 - 0.3 * np.exp(-np.arange(1, epochs + 1)) + 0.3 * np.exp(-float(epochs)))
    return [
        {
            "loss": 1.9 * (1 - value),
            "accuracy": value,
            "val_loss": 2 * (1 - value),
            "val_accuracy": value,
            "images_per_second": rate,
        }
        for value in accuracies.tolist()
    ]


def trial(variant, seed=0, *, final=0.97, epochs=3, failure="", tested=True):
    """A training; with ``failure`` one whose loss was nan after the first epoch."""
    done = history(epochs, final)
    if failure:
        done = [{**done[0], "loss": float("inf"), "val_loss": float("nan")}]
    tests = {"accuracy": final - 0.01, "macro_f1": final - 0.02, "macro_recall": final - 0.03, "min_recall": 0.5}
    return ChildRun(
        variant=variant,
        seed=seed,
        run_id=f"{variant}{seed}",
        status="FAILED" if failure else "FINISHED",
        failure=failure,
        seconds=20.0 + seed,
        history=done,
        test={} if failure or not tested else tests,
        recall=[] if failure or not tested else [final, 0.5],
    )
