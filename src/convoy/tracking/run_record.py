"""What a store knows of a run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from convoy.errors import TrackingError, did_you_mean


@dataclass(frozen=True)
class RunRecord:
    """What a store knows of a run.

    Attributes:
        run_id: Its id.
        name: Its name.
        experiment: Name of its experiment.
        status: RUNNING, SCHEDULED, FINISHED, FAILED or KILLED.
        started: Milliseconds since 1970 (UTC).
        ended: Likewise; None while it runs.
        params: Name -> value, as text.
        metrics: Name -> its last value.
        tags: Name -> value.
        user: Who ran it.
        artifact_uri: Where its files are.
        rows: Samples of each split of its dataset, where the run says; ``all_runs`` leaves it empty.
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
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return None if self.ended is None else (self.ended - self.started) / 1000


def no_experiment(name: str, known: Iterable[str], uri: str) -> TrackingError:
    """Say that there is no such experiment, and which there are."""
    names = sorted(known)
    return TrackingError(
        f"there is no experiment {name!r} in {uri}; it has {', '.join(names)}{did_you_mean(name, names)}"
    )
