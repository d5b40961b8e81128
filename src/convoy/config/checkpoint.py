"""Section ``training.checkpoint``."""

from dataclasses import dataclass

from convoy.config.locations import stored_field
from convoy.config.validation import require, settle


@dataclass(frozen=True)
class CheckpointConfig:
    """Checkpoints, from which training resumes after a failure. One is always saved after each epoch."""

    folder: str = "work/checkpoints"
    """Folder with one subfolder per run; on a cluster, it must be shared by all workers, or be in an object store
    (`s3://bucket/checkpoints`)."""
    every_steps: int | None = None
    """Also save within an epoch, every this many steps."""
    every_seconds: float | None = None
    """Also save within an epoch, this many seconds after the last checkpoint."""
    keep: int = 2
    """Number of newest checkpoints that are kept, in addition to the best one."""

    def __post_init__(self) -> None:
        steps, seconds = self.every_steps, self.every_seconds
        require(steps is None or steps >= 1, "training.checkpoint.every_steps", steps, "1 or more steps, or null")
        require(seconds is None or seconds > 0, "training.checkpoint.every_seconds", seconds, "more than 0, or null")
        settle(self, "folder", stored_field("training.checkpoint.folder", self.folder))
        require(self.keep >= 1, "training.checkpoint.keep", self.keep, "at least 1")
