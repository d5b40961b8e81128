"""The configuration: one YAML file is one experiment, and every job reads the sections that it needs.

Each field, its default and its documentation are defined in these classes only; the command line, ``--help`` and
``--print_config`` are generated from them (``convoy.config.loading``). They are frozen, so that they can be sent to
executors and ranks.
"""

from dataclasses import dataclass, field

from convoy.config.augmentation import AugmentationConfig
from convoy.config.checkpoint import CheckpointConfig
from convoy.config.dataset import DatasetConfig, ImageConfig, StorageConfig
from convoy.config.early_stopping import EarlyStoppingConfig
from convoy.config.evaluation import EvaluationConfig
from convoy.config.experiment import ExperimentConfig
from convoy.config.horovod import HorovodConfig
from convoy.config.model import ModelConfig
from convoy.config.optimizer import OptimizerConfig
from convoy.config.schedule import ScheduleConfig
from convoy.config.scoring import ScoringConfig
from convoy.config.source import ColumnsConfig, SourceConfig
from convoy.config.spark import SparkConfig
from convoy.config.tracking import TrackingConfig
from convoy.config.training import TrainingConfig
from convoy.config.tune import TuneConfig

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
    """The configuration of one experiment."""

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
