"""Section ``experiment``."""

import re
from dataclasses import dataclass, field
from typing import Any

from convoy.config.validation import require

_NAME = re.compile(r"\w[\w .:-]{0,59}")  # what MLflow accepts in the name of a parameter


@dataclass(frozen=True)
class ExperimentConfig:
    """Variants that `jobs/experiment.py` compares."""

    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name of each variant -> the fields in which it differs from the rest of the file, named as on the command line,
    e.g. `{slow: {training.optimizer.learning_rate: 0.001}, fast: {training.optimizer.learning_rate: 0.1}}`; `{}` is the
    file as it is. Fields of `model` and `training` can differ."""
    repetitions: int = 1
    """Number of trainings of each variant, with training.seed, training.seed + 1 and so on, to measure the spread."""

    def __post_init__(self) -> None:
        # YAML reads names such as 64 and 0.1 as numbers.
        object.__setattr__(self, "variants", {str(name): fields for name, fields in self.variants.items()})
        for name in self.variants:
            expected = "letters, digits, spaces and . : - _, at most 60, beginning with a letter or digit"
            require(_NAME.fullmatch(name) is not None, "name of a variant in experiment.variants", name, expected)
        require(self.repetitions >= 1, "experiment.repetitions", self.repetitions, "1 or more")
