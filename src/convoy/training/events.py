"""Events of a training, and their JSON form on the channel from the ranks to the driver.

Each event is a frozen dataclass. Its JSON object has a ``type`` and one member per field, in the order of the fields.
Epochs count from 0.

Ranks and driver are expected to run the same version of Convoy. ``from_json`` therefore raises ``EventError`` for an
unknown type, an unknown field, and a missing field that has no default. A new field needs a default, so that
checkpoints, which contain ``epoch`` events, can still be read.
"""

import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, get_args

from convoy import errors


@dataclass(frozen=True)
class TaskBegun:
    """A Spark task is about to start the process of a training.

    Sent by the task (see ``fresh_process``).
    """

    type: ClassVar[str] = "begun"


@dataclass(frozen=True)
class Started:
    """A rank has started. Sent by each rank.

    Attributes:
        rank: Rank of the process.
        world_size: Number of ranks.
        host: Name of its machine.
        pid: Process id there.
    """

    type: ClassVar[str] = "started"
    rank: int
    world_size: int
    host: str
    pid: int


@dataclass(frozen=True)
class Step:
    """A step is done. Sent by rank 0, a few times per second.

    Attributes:
        epoch: Current epoch.
        epochs: Total number of epochs.
        step: Number of completed steps of the epoch.
        steps: Steps per epoch.
        loss: Mean loss of the epoch so far.
        images_per_second: Mean rate of the epoch so far, over all ranks.
    """

    type: ClassVar[str] = "step"
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    images_per_second: float


@dataclass(frozen=True)
class Alive:
    """Validation is making progress. Sent by rank 0, a few times per second."""

    type: ClassVar[str] = "alive"


@dataclass(frozen=True)
class Epoch:
    """An epoch and its validation are complete. Sent by rank 0.

    Attributes:
        epoch: The epoch.
        epochs: Total number of epochs.
        seconds: Duration, with validation.
        metrics: Name -> value, over all ranks.
    """

    type: ClassVar[str] = "epoch"
    epoch: int
    epochs: int
    seconds: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class RankEpoch:
    """Measurements of a rank in an epoch: times and memory. Sent by each rank.

    Attributes:
        epoch: The epoch.
        rank: The rank.
        ranks: Number of ranks.
        metrics: Name -> value.
    """

    type: ClassVar[str] = "rank"
    epoch: int
    rank: int
    ranks: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class System:
    """CPU and memory of a rank's machine. Sent by each rank, every few seconds.

    Attributes:
        rank: The rank.
        metrics: Name -> value.
    """

    type: ClassVar[str] = "system"
    rank: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class LayerHealth:
    """Dead units and gradient norms of the layers after an epoch. Sent by rank 0.

    Attributes:
        epoch: The epoch.
        metrics: Name -> value.
    """

    type: ClassVar[str] = "health"
    epoch: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint between two epochs has been saved. Sent by rank 0.

    Attributes:
        epoch: The epoch before it.
    """

    type: ClassVar[str] = "checkpoint"
    epoch: int


@dataclass(frozen=True)
class Resumed:
    """Training continues from a checkpoint. Sent by rank 0.

    Attributes:
        epoch: Epoch of the checkpoint.
        step: Number of completed steps of this epoch.
        done: The epochs before; a driver that was killed may not have logged the last ones.
    """

    type: ClassVar[str] = "resumed"
    epoch: int
    step: int
    done: tuple[Epoch, ...]


@dataclass(frozen=True)
class EarlyStopped:
    """The outcome of early stopping. Sent by rank 0, at the end.

    Attributes:
        epoch: Epoch whose weights were restored; None if those of the last epoch are kept.
        stopped: Epoch after which training stopped; None if it did not stop early.
        monitor: The monitored metric.
    """

    type: ClassVar[str] = "early_stopping"
    epoch: int | None
    stopped: int | None
    monitor: str


@dataclass(frozen=True)
class TrainingWarning:
    """A warning for the user. Sent by any rank.

    Attributes:
        text: One line.
    """

    type: ClassVar[str] = "warning"
    text: str


@dataclass(frozen=True)
class Failure:
    """A rank has failed. Sent by this rank.

    Attributes:
        kind: Name of the ``ConvoyError``'s class; empty if the user cannot fix the error.
        text: The message of a ``ConvoyError``, else the traceback.
    """

    type: ClassVar[str] = "failure"
    kind: str
    text: str

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """Return the event for an exception that is being handled."""
        if isinstance(error, errors.ConvoyError):
            return cls(type(error).__name__, str(error))
        return cls("", traceback.format_exc())

    def error(self) -> errors.ConvoyError | None:
        """Return the error to raise on the driver; None if the user cannot fix it."""
        if not self.kind:
            return None
        kind = getattr(errors, self.kind, None)
        if isinstance(kind, type) and issubclass(kind, errors.ConvoyError):
            return kind(self.text)
        return errors.ConvoyError(self.text)


@dataclass(frozen=True)
class WorldSize:
    """Training starts or resumes with another number of ranks than before. Created by the driver.

    Attributes:
        ranks: Number of ranks.
        of: Configured number of ranks.
    """

    type: ClassVar[str] = "ranks"
    ranks: int
    of: int


@dataclass(frozen=True)
class Restart:
    """The ranks are restarted after a failure. Created by the driver.

    Attributes:
        attempt: Number of the restart, from 1.
        reason: The failure, in one line.
    """

    type: ClassVar[str] = "restart"
    attempt: int
    reason: str


Event = (
    TaskBegun
    | Started
    | Step
    | Alive
    | Epoch
    | RankEpoch
    | System
    | LayerHealth
    | CheckpointSaved
    | Resumed
    | EarlyStopped
    | TrainingWarning
    | Failure
    | WorldSize
    | Restart
)
Emit = Callable[[Event], None]
"""Sends an event, or handles it."""

EVENT_TYPES: Mapping[str, type[Event]] = {kind.type: kind for kind in get_args(Event)}


class EventError(ValueError):
    """A JSON value is not an event of this version of Convoy."""


def to_json(event: Event) -> dict[str, Any]:
    """Return the JSON object of an event."""
    return {"type": event.type, **{field.name: _plain(getattr(event, field.name)) for field in fields(event)}}


def from_json(value: Any) -> Event:
    """Return the event of a JSON object.

    Raises:
        EventError: The type or a field is unknown, or a field is missing.
    """
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise EventError(f"expected an event with a type, got {str(value)[:100]}")
    kind = EVENT_TYPES.get(value["type"])
    if kind is None:
        raise EventError(f"the event {value['type']!r} is unknown")
    given = {name: _parsed(member) for name, member in value.items() if name != "type"}
    known = {field.name: field.default is MISSING for field in fields(kind)}
    for name in given:
        if name not in known:
            raise EventError(f"the event {kind.type!r} has an unknown field {name!r}")
    for name, required in known.items():
        if required and name not in given:
            raise EventError(f"the event {kind.type!r} has no field {name!r}")
    return kind(**given)


def encode(event: Event) -> bytes:
    """Return an event as JSON text in UTF-8."""
    return json.dumps(to_json(event)).encode()


def decode(message: bytes) -> Event:
    """Return the event of a JSON text in UTF-8.

    Raises:
        EventError: It is JSON, but not an event.
        ValueError: It is not JSON.
    """
    return from_json(json.loads(message))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [to_json(event) for event in value]
    return dict(value) if isinstance(value, Mapping) else value


def _parsed(value: Any) -> Any:
    return tuple(map(from_json, value)) if isinstance(value, list) else value
