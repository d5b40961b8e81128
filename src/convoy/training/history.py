"""What the driver does with the events of a training: metrics for the reporters, and the summary of the result."""

from collections import Counter
from collections.abc import Callable, Mapping
from statistics import fmean

from convoy.training.events import EarlyStopped, Epoch, Event, LayerHealth, RankEpoch, Resumed, System

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


class TrainingHistory:
    """Records the events of a training and passes each epoch's metrics to reporters.

    Args:
        rows: Number of samples of the training split.
        report: Takes every epoch's metrics, once, even if an epoch is repeated after a restart.
        log_ranks: Takes (epoch from 0, the ranks' measurements), once all of them have reported.
        log_sample: Takes (number of the sample, from 1, the metrics of a rank's machine).
        log_health: Takes (epoch from 0, the layers' health metrics), once.
    """

    def __init__(
        self,
        rows: int,
        report: Reporter,
        log_ranks: Reporter = lambda *_: None,
        log_sample: Reporter = lambda *_: None,
        log_health: Reporter = lambda *_: None,
    ) -> None:
        self._rows, self._report = rows, report
        self._log_ranks, self._log_sample, self._log_health = log_ranks, log_sample, log_health
        self._healthy: set[int] = set()  # epochs whose layer metrics were logged
        self._epochs: dict[int, Mapping[str, float]] = {}
        self._ranks: dict[int, dict[int, Mapping[str, float]]] = {}
        self._complete: set[int] = set()
        self._samples: Counter[int] = Counter()
        self._best: int | None = None

    def record(self, event: Event) -> bool:
        """Record an event; return False if it repeats an epoch that is already recorded."""
        match event:
            case Epoch():
                return self._record_epoch(event)
            case Resumed():
                for epoch in event.done:
                    self._record_epoch(epoch)
            case RankEpoch():
                self._record_rank(event)
            case System():
                self._samples[event.rank] += 1
                metrics = {f"system/rank_{event.rank}/{name}": value for name, value in event.metrics.items()}
                self._log_sample(self._samples[event.rank], metrics)
            case LayerHealth() if event.epoch not in self._healthy:
                self._healthy.add(event.epoch)
                self._log_health(event.epoch, event.metrics)
            case EarlyStopped():
                self._best = event.epoch
        return True

    def _record_epoch(self, event: Epoch) -> bool:
        if event.epoch in self._epochs:
            return False
        self._epochs[event.epoch] = event.metrics
        self._report(event.epoch, event.metrics)
        return True

    def _record_rank(self, event: RankEpoch) -> None:
        if event.epoch in self._complete:
            return
        measured = self._ranks.setdefault(event.epoch, {})
        measured[event.rank] = event.metrics
        if all(rank in measured for rank in range(event.ranks)):
            self._complete.add(event.epoch)
            del self._ranks[event.epoch]
            self._log_ranks(event.epoch, over_ranks({rank: measured[rank] for rank in range(event.ranks)}))

    def summary(self) -> dict[str, float | int]:
        """Return the number of epochs, the validation metrics of the kept (last or best) epoch, and images per second.

        The keys are ``epochs``, ``val_accuracy``, ``val_loss`` and ``images_per_second``.
        """
        kept = self._epochs[max(self._epochs) if self._best is None else self._best]
        seconds = sum(self._rows / metrics["images_per_second"] for metrics in self._epochs.values())
        return {
            "epochs": max(self._epochs) + 1,
            "val_accuracy": kept["val_accuracy"],
            "val_loss": kept["val_loss"],
            "images_per_second": round(self._rows * len(self._epochs) / seconds, 1),
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
