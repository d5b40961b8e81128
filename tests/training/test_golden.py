"""Losses of every step, as they were when this was written: a refactoring may not move them.

LeNet-5 on the embedded digits, one process. The losses are the epoch's running means, as ``fit`` logs them. When the
mathematics changes on purpose: ``CONVOY_WRITE_GOLDEN=1 python -m pytest tests/training/test_golden.py``.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from convoy.config import AugmentationConfig, ModelConfig, OptimizerConfig, ScheduleConfig, TrainingConfig
from convoy.models.builder import build
from convoy.training.callbacks.progress_reporter import ProgressReporter
from convoy.training.distributed.collective import SingleProcess
from convoy.training.events import Event, Step
from convoy.training.loop import TrainTask, train

pytestmark = pytest.mark.spark  # the digits are ingested

FILE = Path(__file__).with_name("golden") / "lenet5-digits.json"
RUNS = {
    "adam": {},
    "nesterov, cosine, smoothing": {
        "optimizer": OptimizerConfig("nesterov", 0.02, weight_decay=1e-4),
        "schedule": ScheduleConfig("cosine", warmup_epochs=1),
        "label_smoothing": 0.1,
    },
    "oversampled, augmented": {
        "class_balance": "oversample",
        "augmentation": AugmentationConfig(crop=2, brightness=0.1, mixup=0.2),
    },
    "streamed": {"cache": "none", "shuffle_window_mb": 0.1},
}


@pytest.mark.parametrize("name", RUNS)
def test_losses_of_every_step_are_the_golden_ones(dataset, monkeypatch, name):
    monkeypatch.setattr(ProgressReporter, "every", 0.0)
    events: list[Event] = []
    config = TrainingConfig(num_workers=0, epochs=3, global_batch_size=40, **RUNS[name])
    train(TrainTask(str(dataset), ModelConfig("lenet5"), config, build, 0), SingleProcess(), events.append)
    losses = [round(event.loss, 6) for event in events if isinstance(event, Step)]
    golden = json.loads(FILE.read_text()) if FILE.exists() else {}
    if os.environ.get("CONVOY_WRITE_GOLDEN"):
        FILE.write_text(json.dumps({**golden, name: losses}, indent=1) + "\n")
        return
    assert len(losses) >= 3 * 9
    np.testing.assert_allclose(losses, golden[name], atol=1e-4)
