"""Section ``training.checkpoint``."""

from dataclasses import dataclass

from convoy.config.validation import require


@dataclass(frozen=True)
class CheckpointConfig:
    """When training is saved, so that it can go on after a failure; always after each epoch."""

    folder: str = "work/checkpoints"
    """Folder with one folder per run; on a cluster, one that every worker sees."""
    every_steps: int | None = None
    """Save within an epoch too, after every so many steps."""
    every_seconds: float | None = None
    """Save within an epoch too, once so many seconds have passed since the last time."""
    keep: int = 2
    """How many of the newest are kept, beside the best."""

    def __post_init__(self) -> None:
        steps, seconds = self.every_steps, self.every_seconds
        require(steps is None or steps >= 1, "training.checkpoint.every_steps", steps, "1 or more steps, or null")
        require(seconds is None or seconds > 0, "training.checkpoint.every_seconds", seconds, "more than 0, or null")
        require(self.keep >= 1, "training.checkpoint.keep", self.keep, "at least 1")
