"""The typed sections: what they accept, and how they refuse."""

import dataclasses
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.config import (
    AugmentationConfig,
    Config,
    DatasetConfig,
    EarlyStoppingConfig,
    EvaluationConfig,
    ExperimentConfig,
    HorovodConfig,
    ImageConfig,
    OptimizerConfig,
    ScheduleConfig,
    ScoringConfig,
    StorageConfig,
    TrainingConfig,
)
from convoy.config.loading import load
from convoy.errors import ConfigError

NAN = float("nan")


def test_defaults_are_valid_and_travel_to_workers():
    assert pickle.loads(pickle.dumps(Config())) == Config()


def test_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().training.epochs = 3


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        (ImageConfig, "height", 0),
        (ImageConfig, "width", 16385),
        (ImageConfig, "width", -1),
        (ImageConfig, "channels", 2),
        (StorageConfig, "row_group_mb", 0.0),
        (StorageConfig, "row_group_mb", NAN),
        (DatasetConfig, "name", "x\ny"),
        (DatasetConfig, "name", "ü" * 128),
        (DatasetConfig, "name", ""),
        (DatasetConfig, "name", "../escape"),
        (DatasetConfig, "name", ".."),
        (DatasetConfig, "name", ".hidden"),
        (DatasetConfig, "validation_fraction", -0.1),
        (DatasetConfig, "test_fraction", 1.5),
        (DatasetConfig, "test_fraction", NAN),
        (DatasetConfig, "max_bad_fraction", 2.0),
        (ExperimentConfig, "repetitions", 0),
        (OptimizerConfig, "learning_rate", 0.0),
        (OptimizerConfig, "learning_rate", NAN),
        (OptimizerConfig, "learning_rate", float("inf")),
        (OptimizerConfig, "scale_with_batch", 0),
        (OptimizerConfig, "momentum", 1.0),
        (OptimizerConfig, "momentum", 0.9),  # the default is adam
        (OptimizerConfig, "weight_decay", -0.1),
        (OptimizerConfig, "weight_decay", NAN),
        (OptimizerConfig, "clip_norm", 0.0),
        (OptimizerConfig, "clip_value", NAN),
        (OptimizerConfig, "ema_momentum", 1.0),
        (ScheduleConfig, "warmup_epochs", -1.0),
        (ScheduleConfig, "final_fraction", 1.5),
        (ScheduleConfig, "decay_factor", 0.0),
        (ScheduleConfig, "decay_epochs", 0.0),
        (ScheduleConfig, "patience", 0),
        (EarlyStoppingConfig, "patience", 0),
        (EarlyStoppingConfig, "min_delta", -1.0),
        (HorovodConfig, "fusion_threshold_mb", -1.0),
        (HorovodConfig, "cycle_time_ms", 0.0),
        (HorovodConfig, "timeline", ""),
        (TrainingConfig, "num_workers", -1),
        (TrainingConfig, "min_workers", 0),
        (TrainingConfig, "min_workers", 2),  # without elastic
        (TrainingConfig, "accumulation_steps", 0),
        (TrainingConfig, "label_smoothing", 1.0),
        (TrainingConfig, "label_smoothing", NAN),
        (TrainingConfig, "epochs", 0),
        (TrainingConfig, "shuffle_window_mb", 0.0),
        (TrainingConfig, "shuffle_window_mb", NAN),
        (TrainingConfig, "shuffle_window_mb", float("inf")),
        (TrainingConfig, "global_batch_size", 0),
        (EvaluationConfig, "top_k", 0),
        (EvaluationConfig, "bootstrap", -1),
        (ScoringConfig, "batch_size", 0),
        (ScoringConfig, "stream_interval", 10.0),  # without stream
        (ScoringConfig, "format", "delta"),  # of a folder
    ],
)
def test_value_out_of_range_is_named_with_what_is_expected(section, field, value):
    with pytest.raises(ConfigError) as refused:
        section(**{field: value})
    message = str(refused.value)
    assert field in message
    assert repr(value) in message
    assert "expected" in message


@pytest.mark.parametrize("share", [0, -0.1, 1.5, NAN])
def test_a_share_of_a_class_is_above_0_and_at_most_1(share):
    with pytest.raises(ConfigError, match=r"dataset\.class_fractions of class '9' is .*; expected a share above 0"):
        DatasetConfig(class_fractions={"0": 1.0, 9: share})  # YAML reads 9 as a number


@given(st.floats(0, 1), st.floats(0, 1))
def test_something_is_always_left_for_training(validation, test):
    if validation + test < 1:
        DatasetConfig(validation_fraction=validation, test_fraction=test)
    else:
        with pytest.raises(ConfigError, match="validation_fraction"):
            DatasetConfig(validation_fraction=validation, test_fraction=test)


@given(st.integers(0, 64), st.integers(1, 128))
def test_every_rank_has_a_sample_in_a_whole_batch(ranks, batch):
    if batch >= ranks:
        TrainingConfig(num_workers=ranks, global_batch_size=batch)
    else:
        with pytest.raises(ConfigError, match=rf"{batch}; expected at least one sample for each of the {ranks} ranks"):
            TrainingConfig(num_workers=ranks, global_batch_size=batch)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OptimizerConfig(clip_norm=1.0, clip_value=0.5), r"clip_value is 0\.5; expected null where clip_norm"),
        (
            lambda: TrainingConfig(epochs=3, schedule=ScheduleConfig(warmup_epochs=4)),
            r"schedule\.warmup_epochs is 4; expected at most training\.epochs, 3",
        ),
        (
            lambda: TrainingConfig(reader="petastorm", class_balance="oversample"),
            "training.reader is 'petastorm'",
        ),
        (
            lambda: TrainingConfig(reader="petastorm", augmentation=AugmentationConfig(mixup=0.2)),
            "training.reader is 'petastorm'",
        ),
        (
            lambda: TrainingConfig(num_workers=2, elastic=True, min_workers=3),
            r"min_workers is 3; expected 1 to training\.num_workers, 2",
        ),
        (
            lambda: TrainingConfig(num_workers=0, elastic=True),
            r"training\.elastic is True; expected false with training\.num_workers 0",
        ),
        (
            lambda: TrainingConfig(elastic=True, reader="petastorm"),
            r"training\.elastic is True; expected false with .*petastorm",
        ),
    ],
)
def test_fields_at_odds_with_each_other_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_configuration_is_changed_with_the_checks_of_a_file():
    config = load(overrides={"training.epochs": 3, "dataset.name": "mine"})
    changed = load(config, {"training.epochs": 4})
    assert (changed.training.epochs, changed.dataset.name, config.training.epochs) == (4, "mine", 3)
    assert load(config) is config
    with pytest.raises(ConfigError, match=r"did you mean 'training\.epochs'"):
        load(config, {"training.epoch": 4})
