"""The configuration: one YAML file is one experiment, every job reads the sections that it needs.

The classes are the only place where a field, its default and its documentation stand; the command line,
``--help`` and ``--print_config`` are made from them (``convoy.cli``). They are frozen, so they can travel
to executors and ranks.
"""

from dataclasses import dataclass, field

from convoy.config.augmentation import AugmentationConfig
from convoy.config.data import ColumnsConfig, DatasetConfig, ImageConfig, SourceConfig, StorageConfig
from convoy.config.experiment import ExperimentConfig
from convoy.config.jobs import EvaluationConfig, ScoringConfig, SparkConfig, TrackingConfig
from convoy.config.model import ModelConfig
from convoy.config.optimization import EarlyStoppingConfig, HorovodConfig, OptimizerConfig, ScheduleConfig
from convoy.config.recovery import CheckpointConfig
from convoy.config.training import TrainingConfig
from convoy.config.tuning import TuneConfig

__all__ = [
    "AugmentationConfig",
    "CheckpointConfig",
    "ColumnsConfig",
    "Config",
    "DatasetConfig",
    "EarlyStoppingConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "HorovodConfig",
    "ImageConfig",
    "ModelConfig",
    "OptimizerConfig",
    "ScheduleConfig",
    "ScoringConfig",
    "SourceConfig",
    "SparkConfig",
    "StorageConfig",
    "TrackingConfig",
    "TrainingConfig",
    "TuneConfig",
]


@dataclass(frozen=True)
class Config:
    """One experiment."""

    source: SourceConfig = field(default_factory=SourceConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    spark: SparkConfig = field(default_factory=SparkConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
