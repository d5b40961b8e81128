"""Section ``evaluation``."""

from dataclasses import dataclass
from typing import Literal

from convoy.config.validation import require


@dataclass(frozen=True)
class EvaluationConfig:
    """What `jobs/evaluate.py` measures."""

    model: str | None = None
    """MLflow model URI, e.g. models:/digits/3, models:/digits@champion, runs:/<id>/model; null is the newest
    version of tracking.registered_model."""
    split: Literal["train", "validation", "test"] = "test"
    """Split of the dataset to measure on."""
    top_k: int = 5
    """k of the top-k accuracy."""
    bootstrap: int = 1000
    """Resamples from which the confidence intervals come; 0 does without intervals."""
    gates: list[str] | None = None
    """What the model has to reach, e.g. `accuracy >= 0.98`, `f1[7] >= 0.95`, `log_loss <= 0.1`, `not worse than
    models:/digits@champion`; if it does, the alias `champion` moves to it, if not, the exit status is 3."""

    def __post_init__(self) -> None:
        require(self.top_k >= 1, "evaluation.top_k", self.top_k, "at least 1")
        require(self.bootstrap >= 0, "evaluation.bootstrap", self.bootstrap, "0 or more")
