"""A store's record of a run, and the direction of its metrics."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from convoy.config.tracking import ID_PREFIX
from convoy.errors import TrackingError, did_you_mean
from convoy.tracking.liveness import LOST, is_lost

BEST = "best_"
"""``best_<metric>`` is the best value of a metric over the epochs."""

_LOWER_IS_BETTER = ("loss", "error", "seconds", "_ms", "_mb", "_share", "dead_units", "gradient_norm")


def lower_is_better(metric: str) -> bool:
    """Return whether a metric's best value is its lowest: for losses, errors, times and sizes."""
    return any(part in metric for part in _LOWER_IS_BETTER)


@dataclass(frozen=True)
class RunRecord:
    """A store's record of a run.

    Attributes:
        run_id: Its id.
        name: Its name.
        experiment: Name of its experiment.
        status: RUNNING, SCHEDULED, FINISHED, FAILED or KILLED.
        started: Milliseconds since 1970 (UTC).
        ended: Likewise; None while the run is active.
        params: Name -> value, as text.
        metrics: Name -> its last value.
        tags: Name -> value.
        user: The user who ran it.
        artifact_uri: Location of its files.
        rows: Samples of each split of its dataset, if the run has them.
    """

    run_id: str
    name: str
    experiment: str
    status: str
    started: int
    ended: int | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    user: str = ""
    artifact_uri: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """Return the status, or LOST for a run that counts as running although its driver does not exist any more."""
        return LOST if is_lost(self.status, self.tags) else self.status

    @property
    def seconds(self) -> float | None:
        """Return the duration in seconds; None while the run is active."""
        return None if self.ended is None else (self.ended - self.started) / 1000


def of_experiment(experiments: Mapping[str, str], wanted: str, uri: str) -> dict[str, str]:
    """Return the experiment of that name, or of the id after ``id:``, as a mapping: id -> name.

    Args:
        experiments: Id -> name, of all experiments.
        wanted: The name, or ``id:`` and the id.
        uri: The store, for the message.

    Raises:
        TrackingError: There is none.
    """
    found = {key: name for key, name in experiments.items() if wanted in (name, f"{ID_PREFIX}{key}")}
    if not found:
        raise no_experiment(wanted, experiments.values(), uri)
    return found


def no_experiment(name: str, known: Iterable[str], uri: str) -> TrackingError:
    """Return the error for an unknown experiment, with the names of the existing ones."""
    names = sorted(known)
    return TrackingError(
        f"there is no experiment {name!r} in {uri}; it has {', '.join(names)}{did_you_mean(name, names)}"
    )
