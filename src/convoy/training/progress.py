"""What the driver makes of the ranks' events: a live line, a line per epoch, and metrics for the reporter."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from convoy.console import Progress, clock

Reporter = Callable[[int, Mapping[str, float]], None]
"""Takes (epoch from 0, metrics); the tracking room has one."""


class TrainingProgress:
    """Shows training and hands each epoch's metrics on.

    Args:
        rows: Samples of the training split.
        epochs: Epochs in all.
        report: Takes every epoch's metrics.
    """

    def __init__(self, rows: int, epochs: int, report: Reporter) -> None:
        self._rows, self._report = rows, report
        self._progress = Progress("train", rows * epochs)
        self._history: dict[int, dict[str, float]] = {}
        self._best: int | None = None

    def __enter__(self) -> "TrainingProgress":
        self._progress.note("starting the ranks")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._progress.close()

    def handle(self, event: Mapping[str, Any]) -> None:
        """Take an event of ``callbacks.Report``."""
        if event["type"] == "step":
            left = event["epochs"] - event["epoch"] - event["step"] / event["steps"]
            rate = event["images_per_second"]
            self._progress.note(
                f"epoch {event['epoch'] + 1}/{event['epochs']}  step {event['step']}/{event['steps']}"
                f"  loss {event['loss']:.4f}  {rate:,.0f} images/s  {clock(left * self._rows / rate)} left"
            )
        elif event["type"] == "warning":
            self._progress.line(f"warning: {event['text']}")
        elif event["type"] == "restart":
            self._progress.line(
                f"warning: {event['reason']}; starting the ranks again (attempt {event['attempt'] + 1})"
            )
            self._progress.note("starting the ranks")
        elif event["type"] == "resumed":
            for earlier in event["done"]:
                if earlier["epoch"] not in self._history:
                    self._take(earlier)
            self._progress.line(
                f"going on from the checkpoint in epoch {event['epoch'] + 1}, after step {event['step']}"
            )
        elif event["type"] == "epoch" and event["epoch"] not in self._history:
            metrics = self._take(event)
            self._progress.line(
                f"epoch {event['epoch'] + 1}/{event['epochs']}"
                f"  loss {metrics['loss']:.4f}  accuracy {metrics['accuracy']:.4f}"
                f"  val_loss {metrics['val_loss']:.4f}  val_accuracy {metrics['val_accuracy']:.4f}"
                f"  {metrics['images_per_second']:,.0f} images/s  {clock(event['seconds'])}"
            )
        elif event["type"] == "early_stopping":
            self._best = event["epoch"]
            if event["stopped"] is not None:
                kept = "" if self._best is None else f"; the weights are those of epoch {self._best + 1}"
                self._progress.line(f"stopped early: {event['monitor']} no longer gets better{kept}")

    def _take(self, event: Mapping[str, Any]) -> dict[str, float]:
        metrics = dict(event["metrics"])
        self._history[event["epoch"]] = metrics
        self._report(event["epoch"], metrics)
        return metrics

    def summary(self) -> dict[str, float | int]:
        """Epochs trained; the trained model's validation metrics, of the last or best one; images per second."""
        kept = self._history[max(self._history) if self._best is None else self._best]
        seconds = sum(self._rows / metrics["images_per_second"] for metrics in self._history.values())
        return {
            "epochs": max(self._history) + 1,
            "val_accuracy": kept["val_accuracy"],
            "val_loss": kept["val_loss"],
            "images_per_second": round(self._rows * len(self._history) / seconds, 1),
        }
