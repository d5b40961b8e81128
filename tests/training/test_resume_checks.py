"""A run that cannot be gone on with is refused on the driver, before anything starts."""

import numpy as np
import pytest

from convoy.config import CheckpointConfig, Config, TrainingConfig
from convoy.errors import TrainingError
from convoy.training.checkpoint import Checkpoint, CheckpointStore
from convoy.training.recovery import check_resumable, identity_of

RUN = "0123456789abcdef"


@pytest.fixture
def saved(tmp_path):
    """A run that has done three of five epochs."""
    state = {"epoch": 3, "identity": identity_of(TrainingConfig(), "lenet5", "f" * 32)}
    store = CheckpointStore(tmp_path / RUN, 2, pytest.fail)
    store.save(Checkpoint(30, {"weights/0000": np.zeros(3)}, state))
    return tmp_path


def config(folder, run=RUN, **training):
    return Config(training=TrainingConfig(resume=run, checkpoint=CheckpointConfig(str(folder)), **training))


def test_a_run_with_epochs_left_is_gone_on_with(saved):
    check_resumable(config(saved, num_workers=3), "f" * 32)


@pytest.mark.parametrize(
    ("options", "fingerprint", "message"),
    [
        ({}, "e" * 32, r"run 0123456789abcdef was trained with dataset\.fingerprint 'f+', not 'e+'"),
        ({"seed": 2}, "f" * 32, r"training\.seed 0, not 2"),
        ({"epochs": 3}, "f" * 32, r"has trained 3 epochs already; raise training\.epochs, which is 3"),
        ({"run": "abc"}, "f" * 32, r"run 'abc' has no checkpoint in .*; mend training\.resume"),
        ({"run": "../abc"}, "f" * 32, r"training\.resume is '\.\./abc'; expected the id of an MLflow run"),
    ],
)
def test_others_are_refused(saved, options, fingerprint, message):
    with pytest.raises(TrainingError, match=message):
        check_resumable(config(saved, **options), fingerprint)
