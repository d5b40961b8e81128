"""A run that cannot be gone on with is refused on the driver, before anything starts."""

from dataclasses import replace

import numpy as np
import pytest

from convoy.config import CheckpointConfig, Config, ModelConfig, TrainingConfig
from convoy.errors import TrainingError
from convoy.training.checkpoint import resume
from convoy.training.checkpoint.resume import check_resumable, resume_signature
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
        ({"epochs": 3}, "f" * 32, r"has trained 3 epochs already; raise training\.epochs, which is 3"),
        ({"run": "abc"}, "f" * 32, r"run 'abc' has no checkpoint in .*; fix training\.resume"),
        ({"run": "../abc"}, "f" * 32, r"training\.resume is '\.\./abc'; expected the id of an MLflow run"),
    ],
)
def test_others_are_refused(saved, options, fingerprint, message):
    with pytest.raises(TrainingError, match=message):
        check_resumable(config(saved, **options), fingerprint)


def test_names_in_checkpoints_stay_when_classes_are_renamed():
    """Checkpoints of earlier versions have these names; with others, their early stopping would begin anew."""
    assert list(resume._STATEFUL) == ["Report", "PlateauRate", "EarlyStopping"]
