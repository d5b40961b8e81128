"""Section ``spark``."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SparkConfig:
    """Spark, when not started by `spark-submit` (whose own settings win)."""

    master: str = "local[*]"
    """Master URL."""
    conf: dict[str, str] = field(default_factory=dict)
    """Any Spark properties."""
