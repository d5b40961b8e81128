"""Console output of a training: a progress bar, a line per epoch, warnings."""

from types import TracebackType
from typing import Protocol

from convoy.console import Progress, clock
from convoy.console.notebook import in_notebook
from convoy.training.events import EarlyStopped, Epoch, Event, Restart, Resumed, Step, TrainingWarning, WorldSize


class Display(Protocol):
    """Context manager that shows the events of a training."""

    def __enter__(self) -> "Display":
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """End."""

    def show(self, event: Event) -> None:
        """Show an event; most kinds are not shown. Repeated epochs are not passed."""


_NOTEBOOK_LINES = 10  # about the most lines of epochs below a cell; the result's ``history`` has all epochs


class ConsoleDisplay:
    """Shows the events of a training on the console; in a notebook, of many epochs only every n-th.

    Args:
        rows: Number of samples of the training split.
        epochs: Total number of epochs.
    """

    def __init__(self, rows: int, epochs: int) -> None:
        self._rows, self._progress = rows, Progress("train", rows * epochs)
        self._every = -(-epochs // _NOTEBOOK_LINES) if in_notebook() else 1

    def __enter__(self) -> "ConsoleDisplay":
        self._progress.note("starting the ranks")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._progress.close()

    def show(self, event: Event) -> None:
        """Show an event; most kinds are not shown."""
        if isinstance(event, Step):
            self._show_step(event)
        elif isinstance(event, Epoch) and 0 < event.epoch < event.epochs - 1 and (event.epoch + 1) % self._every:
            return
        elif text := line_of(event):
            self._progress.line(text)
            if isinstance(event, Restart):
                self._progress.note("starting the ranks")

    def _show_step(self, event: Step) -> None:
        done = event.epoch + event.step / event.steps
        left = (event.epochs - done) * self._rows / event.images_per_second
        self._progress.note(
            f"{where_of(event)}  step {event.step}/{event.steps}  loss {event.loss:.4f}"
            f"  {event.images_per_second:,.0f} images/s  {clock(left)} left",
            done * self._rows,
        )


def where_of(event: Step | Epoch) -> str:
    """Return the epoch of an event as text, e.g. ``epoch 2/3``."""
    return f"epoch {event.epoch + 1}/{event.epochs}"


def line_of(event: Event) -> str | None:
    """Return the line that reports an event; None for events that have none."""
    match event:
        case Epoch(metrics=metrics):
            return (
                f"{where_of(event)}  loss {metrics['loss']:.4f}  accuracy {metrics['accuracy']:.4f}"
                f"  val_loss {metrics['val_loss']:.4f}  val_accuracy {metrics['val_accuracy']:.4f}"
                f"  {metrics['images_per_second']:,.0f} images/s  {clock(event.seconds)}"
            )
        case TrainingWarning(text=text):
            return f"warning: {text}"
        case Restart():
            return f"warning: {event.reason}; restarting the ranks (attempt {event.attempt + 1})"
        case WorldSize(ranks=ranks):
            return f"training with {ranks} of {event.of} ranks (Spark slots available: {ranks})"
        case Resumed():
            return f"resuming from the checkpoint in epoch {event.epoch + 1}, after step {event.step}"
        case EarlyStopped(stopped=int()):
            kept = "" if event.epoch is None else f"; the weights are those of epoch {event.epoch + 1}"
            return f"stopped early: {event.monitor} no longer improves{kept}"
    return None
