"""Section ``training.horovod``."""

import math
from dataclasses import dataclass
from typing import Literal

from convoy.config.locations import local_field
from convoy.config.validation import require, settle


@dataclass(frozen=True)
class HorovodConfig:
    """Exchange of gradients between ranks."""

    compression: Literal["none", "fp16"] = "none"
    """`fp16` sends gradients in 16 bits: half the bytes, rounded; values beyond 65,504 become infinite."""
    # The field has only one value; it stays because the configurations that runs have logged contain it.
    reduction: Literal["average"] = "average"
    """How the gradients of the ranks are combined; `average` is the only way."""
    fusion_threshold_mb: float | None = None
    """Gradients are fused into buffers of up to this many MiB; null is Horovod's default."""
    cycle_time_ms: float | None = 1.0
    """Milliseconds between two rounds of communication; null is Horovod's default, which in 0.28.1 means no pause: its
    threads then use half of a core of each rank for polling."""
    timeline: str | None = None
    """File, on the machine of rank 0, for Horovod's timeline (open it at chrome://tracing); null writes none."""

    def __post_init__(self) -> None:
        size, time = self.fusion_threshold_mb, self.cycle_time_ms
        require(
            size is None or 0 <= size < math.inf, "training.horovod.fusion_threshold_mb", size, "0 or more MiB, or null"
        )
        require(
            time is None or 0 < time < math.inf,
            "training.horovod.cycle_time_ms",
            time,
            "a positive time in ms, or null",
        )
        if self.timeline is not None:
            settle(self, "timeline", local_field("training.horovod.timeline", self.timeline))
        require(self.timeline != "", "training.horovod.timeline", self.timeline, "a file, or null")
