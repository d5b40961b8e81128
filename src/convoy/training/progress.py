"""The driver's processing of the ranks' events: a live line, a line per epoch, and metrics for the reporter."""

from collections import Counter
from collections.abc import Callable, Mapping
from statistics import fmean
from types import TracebackType
from typing import Any

from convoy.console import Progress, clock

Reporter = Callable[[int, Mapping[str, float]], None]
"""Takes (epoch from 0, metrics), or (step, metrics); ``convoy.tracking`` provides reporters."""

_OVER_RANKS: dict[str, Callable[[list[float]], float]] = {  # images_per_second is the epoch's own
    "step_ms": max,
    "step_ms_p95": max,
    "data_wait_share": fmean,
    "communication_share": fmean,
    "memory_mb": max,
    "memory_peak_mb": max,
}


class TrainingProgress:
    """Shows the progress of training and passes each epoch's metrics to reporters.

    Args:
        rows: Number of samples of the training split.
        epochs: Total number of epochs.
        report: Takes every epoch's metrics, once, even if an epoch is repeated after a restart.
        log_ranks: Takes (epoch from 0, the ranks' measurements), once all of them have reported.
        log_sample: Takes (number of the sample, from 1, the metrics of a rank's machine).
        log_health: Takes (epoch from 0, the layers' health metrics), once.
        shown: Where it is shown; None is the console.
    """

    def __init__(
        self,
        rows: int,
        epochs: int,
        report: Reporter,
        log_ranks: Reporter = lambda *_: None,
        log_sample: Reporter = lambda *_: None,
        log_health: Reporter = lambda *_: None,
        shown: Progress | None = None,
    ) -> None:
        self._rows, self._report, self._log_ranks, self._log_sample = rows, report, log_ranks, log_sample
        self._log_health = log_health
        self._healthy: set[int] = set()  # epochs whose layer metrics were logged
        self._progress = shown or Progress("train", rows * epochs)
        self._history: dict[int, dict[str, float]] = {}
        self._ranks: dict[int, dict[int, dict[str, float]]] = {}
        self._complete: set[int] = set()
        self._samples: Counter[int] = Counter()
        self._best: int | None = None

    def __enter__(self) -> "TrainingProgress":
        self._progress.note("starting the ranks")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._progress.close()

    def handle(self, event: Mapping[str, Any]) -> None:
        """Handle an event of ``ProgressReporter``, ``timing.Timing`` or ``layer_health.Health``."""
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
            self._progress.line(f"warning: {event['reason']}; restarting the ranks (attempt {event['attempt'] + 1})")
            self._progress.note("starting the ranks")
        elif event["type"] == "ranks":
            ranks = event["ranks"]
            self._progress.line(f"training with {ranks} of {event['of']} ranks (Spark slots available: {ranks})")
        elif event["type"] == "resumed":
            for earlier in event["done"]:
                if earlier["epoch"] not in self._history:
                    self._take(earlier)
            self._progress.line(
                f"resuming from the checkpoint in epoch {event['epoch'] + 1}, after step {event['step']}"
            )
        elif event["type"] == "epoch" and event["epoch"] not in self._history:
            metrics = self._take(event)
            self._progress.line(
                f"epoch {event['epoch'] + 1}/{event['epochs']}"
                f"  loss {metrics['loss']:.4f}  accuracy {metrics['accuracy']:.4f}"
                f"  val_loss {metrics['val_loss']:.4f}  val_accuracy {metrics['val_accuracy']:.4f}"
                f"  {metrics['images_per_second']:,.0f} images/s  {clock(event['seconds'])}"
            )
        elif event["type"] == "health" and event["epoch"] not in self._healthy:
            self._healthy.add(event["epoch"])
            self._log_health(event["epoch"], event["metrics"])
        elif event["type"] == "rank" and event["epoch"] not in self._complete:
            self._take_rank(event)
        elif event["type"] == "system":
            rank = event["rank"]
            self._samples[rank] += 1
            metrics = {f"system/rank_{rank}/{name}": value for name, value in event["metrics"].items()}
            self._log_sample(self._samples[rank], metrics)
        elif event["type"] == "early_stopping":
            self._best = event["epoch"]
            if event["stopped"] is not None:
                kept = "" if self._best is None else f"; the weights are those of epoch {self._best + 1}"
                self._progress.line(f"stopped early: {event['monitor']} no longer improves{kept}")

    def _take(self, event: Mapping[str, Any]) -> dict[str, float]:
        metrics = dict(event["metrics"])
        self._history[event["epoch"]] = metrics
        self._report(event["epoch"], metrics)
        return metrics

    def _take_rank(self, event: Mapping[str, Any]) -> None:
        epoch = event["epoch"]
        measured = self._ranks.setdefault(epoch, {})
        measured[event["rank"]] = dict(event["metrics"])
        if all(rank in measured for rank in range(event["ranks"])):
            self._complete.add(epoch)
            del self._ranks[epoch]
            self._log_ranks(epoch, over_ranks({rank: measured[rank] for rank in range(event["ranks"])}))

    def summary(self) -> dict[str, float | int]:
        """Return the number of epochs, the validation metrics of the kept (last or best) epoch, and images per second.

        The keys are ``epochs``, ``val_accuracy``, ``val_loss`` and ``images_per_second``.
        """
        kept = self._history[max(self._history) if self._best is None else self._best]
        seconds = sum(self._rows / metrics["images_per_second"] for metrics in self._history.values())
        return {
            "epochs": max(self._history) + 1,
            "val_accuracy": kept["val_accuracy"],
            "val_loss": kept["val_loss"],
            "images_per_second": round(self._rows * len(self._history) / seconds, 1),
        }


def over_ranks(measured: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Return an epoch's metrics aggregated over the ranks, the world size, and each rank's as ``rank_<r>/<name>``.

    Args:
        measured: Rank -> the metrics that its ``timing.Timing`` emitted.
    """
    metrics = {name: float(of([own[name] for own in measured.values()])) for name, of in _OVER_RANKS.items()}
    metrics["world_size"] = len(measured)
    for rank, own in sorted(measured.items()):
        metrics |= {f"rank_{rank}/{name}": value for name, value in own.items()}
    return metrics
