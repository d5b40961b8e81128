"""Section ``tune``."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from convoy.config.locations import local_database
from convoy.config.validation import require, settle


@dataclass(frozen=True)
class TuneConfig:
    """Hyperparameter search of `jobs/tune.py`."""

    space: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Fields of `model` and `training`, named as on the command line -> what to try:
    `{low: 1e-4, high: 1e-1, log: true}`, `{low: 2, high: 6, step: 2}` or `{choices: [relu, tanh]}`;
    `when: {training.optimizer.name: sgd}` tries the field only with that choice, or list of choices, of another one."""
    metric: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    """Metric that has to improve: a rising val_accuracy, or a falling val_loss, of the weights that are kept."""
    sampler: Literal["tpe", "random", "grid", "cmaes"] = "tpe"
    """`tpe` (tree-structured Parzen estimator) learns from earlier trials; so does `cmaes` for ranges, while it draws
    choices at random; `grid` tries all combinations, so that ranges need a step."""
    pruner: Literal["none", "median", "halving", "hyperband"] = "median"
    """Stops unpromising trials after an epoch: `median` those worse than half of the others (once five are complete),
    `halving` all but a quarter of those that reached the same epoch, `hyperband` in several brackets."""
    trials: int | None = 20
    """Number of trials of the study, including those before a restart; null sets no limit."""
    minutes: float | None = None
    """No trial starts later than this many minutes after the job; null sets no limit."""
    patience: int | None = None
    """Trials without a new best after which no further trial starts; null sets no limit."""
    parallel: int | None = None
    """Number of trials at a time, each in a single process on one Spark task; null trains one at a time, on
    training.num_workers ranks."""
    study: str | None = None
    """Name of the study; an existing study of that name in `storage` is continued. null is tracking.experiment."""
    storage: str = "sqlite:///work/studies.db"
    """Storage of studies: a SQLite file, or the SQLAlchemy URL of another database."""
    best: Literal["keep", "register", "retrain"] = "keep"
    """At the end, `register` registers the best trial's model as a version of tracking.registered_model; `retrain`
    trains its configuration again, on training.num_workers ranks, and registers the result."""
    seed: int = 0
    """Seed of the sampler."""

    def __post_init__(self) -> None:
        for name in ("trials", "patience", "parallel"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"tune.{name}", value, "1 or more, or null")
        minutes = self.minutes
        require(minutes is None or 0 < minutes < math.inf, "tune.minutes", minutes, "more than 0, or null")
        require(self.seed >= 0, "tune.seed", self.seed, "0 or more")
        require(self.study != "", "tune.study", self.study, "a name, or null")
        settle(self, "storage", local_database("tune.storage", self.storage))
        known = "://" in self.storage and self.storage not in ("sqlite://", "sqlite:///")
        require(known, "tune.storage", self.storage, "a database, e.g. sqlite:///work/studies.db")
        limited = self.sampler == "grid" or {self.trials, minutes, self.patience} != {None}
        require(limited, "tune.trials", None, "a number, where tune.minutes and tune.patience are null too")
