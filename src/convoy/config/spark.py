"""Section ``spark``."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SparkConfig:
    """Spark, if not started by `spark-submit` (whose own settings take precedence)."""

    master: str = "local[*]"
    """Master URL."""
    conf: dict[str, str] = field(default_factory=dict)
    """Spark properties, by name."""
