"""Section ``evaluation``."""

from dataclasses import dataclass
from typing import Literal

from convoy.config.validation import require


@dataclass(frozen=True)
class EvaluationConfig:
    """Evaluation of a model by `jobs/evaluate.py`."""

    model: str | None = None
    """MLflow model URI, e.g. `models:/digits/3`, `models:/digits@champion`, `runs:/<id>/model`; null is the newest
    version of tracking.registered_model."""
    split: Literal["train", "validation", "test"] = "test"
    """Split of the dataset to evaluate on."""
    top_k: int = 5
    """k of the top-k accuracy."""
    bootstrap: int = 1000
    """Number of bootstrap resamples for the confidence intervals; 0 computes no intervals."""
    gates: list[str] | None = None
    """Conditions that the model has to meet, e.g. `accuracy >= 0.98`, `f1[7] >= 0.95`, `log_loss <= 0.1`, `not worse
    than models:/digits@champion`. If it meets all of them, it gets the alias `champion`; if not, the exit status is
    3."""

    def __post_init__(self) -> None:
        require(self.top_k >= 1, "evaluation.top_k", self.top_k, "at least 1")
        require(self.bootstrap >= 0, "evaluation.bootstrap", self.bootstrap, "0 or more")
