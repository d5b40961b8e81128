"""A run that cannot be gone on with is refused on the driver, before anything starts."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from convoy.config import (
    AugmentationConfig,
    CheckpointConfig,
    Config,
    EarlyStoppingConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainingConfig,
)
from convoy.errors import TrainingError
from convoy.training.checkpoint import resume
from convoy.training.checkpoint.resume import check_resumable
from convoy.training.checkpoint.signature import check_signature, resume_signature
from convoy.training.checkpoint.store import Checkpoint, CheckpointStore

RUN = "0123456789abcdef"


@pytest.fixture
def saved(tmp_path):
    """A run that has done three of five epochs."""
    state = {"epoch": 3, "identity": resume_signature(TrainingConfig(), ModelConfig(), "f" * 32)}
    store = CheckpointStore(tmp_path / RUN, 2, pytest.fail)
    store.save(Checkpoint(30, {"weights/0000": np.zeros(3)}, state))
    return tmp_path


def config(folder, run=RUN, **training):
    return Config(training=TrainingConfig(resume=run, checkpoint=CheckpointConfig(str(folder)), **training))


def test_a_run_with_epochs_left_is_gone_on_with(saved):
    check_resumable(config(saved, num_workers=3), "f" * 32)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ModelConfig("mnist_cnn"), r"model\.name 'lenet5', not 'mnist_cnn'"),
        (ModelConfig(activation="relu"), r"model\.activation None, not 'relu'"),
        (ModelConfig(freeze_to="c1"), r"model\.freeze_to None, not 'c1'"),
        (ModelConfig("lenet5", layers=["flatten"]), r"model\.name 'lenet5', not 'own'"),
    ],
)
def test_another_network_is_refused(saved, model, message):
    with pytest.raises(TrainingError, match=message):
        check_resumable(replace(config(saved), model=model), "f" * 32)


def test_a_field_that_only_checks_may_change(saved):
    check_resumable(replace(config(saved), model=ModelConfig(strict_geometry=False)), "f" * 32)


@pytest.mark.parametrize(
    ("options", "fingerprint", "message"),
    [
        ({}, "e" * 32, r"run 0123456789abcdef was trained with dataset\.fingerprint 'f+', not 'e+'"),
        ({"seed": 2}, "f" * 32, r"training\.seed 0, not 2"),
        (
            {"optimizer": OptimizerConfig(learning_rate=0.1)},
            *("f" * 32, r"training\.optimizer\.learning_rate 0\.001, not 0\.1; .*model\.initial_weights"),
        ),
        ({"optimizer": OptimizerConfig("sgd")}, "f" * 32, r"training\.optimizer\.name 'adam', not 'sgd'"),
        ({"optimizer": OptimizerConfig(clip_norm=1.0)}, "f" * 32, r"clip_norm None, not 1\.0"),
        ({"schedule": ScheduleConfig("cosine")}, "f" * 32, r"training\.schedule\.name 'constant', not 'cosine'"),
        ({"label_smoothing": 0.1}, "f" * 32, r"training\.label_smoothing 0\.0, not 0\.1"),
        ({"augmentation": AugmentationConfig(mixup=0.2)}, "f" * 32, r"augmentation\.mixup"),
        ({"epochs": 3}, "f" * 32, r"has trained 3 epochs already; raise training\.epochs, which is 3"),
        ({"run": "abc"}, "f" * 32, r"run 'abc' has no checkpoint in .*; fix training\.resume"),
        ({"run": "../abc"}, "f" * 32, r"training\.resume is '\.\./abc'; expected the id of an MLflow run"),
    ],
)
def test_others_are_refused(saved, options, fingerprint, message):
    with pytest.raises(TrainingError, match=message):
        check_resumable(config(saved, **options), fingerprint)


@pytest.mark.parametrize(
    "changed",
    [
        {"epochs": 9, "num_workers": 4, "max_restarts": 0, "stall_timeout": 60},
        {"early_stopping": EarlyStoppingConfig(patience=9)},
        {"optimizer": OptimizerConfig(learning_rate=0.001)},  # the default, in words
    ],
)
def test_what_does_not_change_the_mathematics_may_change(saved, changed):
    check_resumable(config(saved, **changed), "f" * 32)


def old_signature(**changed):
    """As versions before 1.0 wrote it."""
    names = ("global_batch_size", "accumulation_steps", "seed", "cache", "shuffle_window_mb", "class_balance")
    values = asdict(TrainingConfig())
    network = {f"model.{name}": value for name, value in asdict(ModelConfig()).items() if name != "strict_geometry"}
    found = {"dataset.fingerprint": "f" * 32, **network, "training.optimizer.name": "adam"}
    found |= {f"training.{name}": values[name] for name in (*names, "augmentation", "precision")}
    return {**found, **changed}


def test_checkpoints_of_earlier_versions_are_resumed(tmp_path):
    now = resume_signature(TrainingConfig(optimizer=OptimizerConfig(learning_rate=0.1)), ModelConfig(), "f" * 32)
    check_signature(old_signature(), now, "run x")  # which do not contain the rate
    with pytest.raises(TrainingError, match=r"training\.seed 3, not 0"):
        check_signature(old_signature(**{"training.seed": 3}), now, "run x")


def test_a_field_that_is_newer_than_the_checkpoint_must_have_its_default():
    now = resume_signature(TrainingConfig(), ModelConfig(), "f" * 32)
    before = {name: value for name, value in now.items() if name != "training.augmentation.cutout"}
    check_signature(before, now, "run x")
    changed = resume_signature(TrainingConfig(augmentation=AugmentationConfig(cutout=4)), ModelConfig(), "f" * 32)
    with pytest.raises(TrainingError, match=r"training\.augmentation\.cutout 0, not 4"):
        check_signature(before, changed, "run x")


def test_a_field_that_this_version_does_not_have_is_refused():
    now = resume_signature(TrainingConfig(), ModelConfig(), "f" * 32)
    with pytest.raises(TrainingError, match=r"training\.augmentation\.colour 0\.5, which this version"):
        check_signature({**now, "training.augmentation.colour": 0.5}, now, "run x")


def test_names_in_checkpoints_stay_when_classes_are_renamed():
    """Checkpoints of earlier versions have these names; with others, their early stopping would begin anew."""
    assert list(resume._STATEFUL) == ["Report", "PlateauRate", "EarlyStopping"]
