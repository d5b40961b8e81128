"""LeNet-5 on real Horovod ranks: the losses of every step are those of one rank."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from convoy.config import ModelConfig, OptimizerConfig, TrainingConfig
from convoy.dataset.storage.manifest import Manifest
from convoy.models.builder import build
from convoy.training.distributed.launch import launch
from convoy.training.loop import TrainTask

pytestmark = [pytest.mark.spark, pytest.mark.e2e, pytest.mark.long]

EPOCHS, FOLDER = 3, "CONVOY_TEST_LOSSES"


class Recorded(keras.Model):
    """Writes down the loss' sum and count of this rank after each step; the last of ``fit``'s callbacks does it."""

    def fit(self, *arguments, callbacks, **options):
        return super().fit(*arguments, callbacks=[*callbacks, Record()], **options)


class Record(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.sums = []

    def on_epoch_begin(self, epoch, logs=None):
        self.sums.append([])

    def on_train_batch_end(self, batch, logs=None):
        self.sums[-1].append([float(variable.numpy()) for variable in self.model.metrics[0].variables])

    def on_train_end(self, logs=None):
        file = Path(os.environ[FOLDER]) / f"{os.environ['HOROVOD_RANK']}.json"
        file.write_text(json.dumps(self.sums))


def recorded(*arguments):
    model = build(*arguments)
    return Recorded(model.inputs, model.outputs[0]) if os.environ.get("HOROVOD_RANK") else model


def losses_of_steps(spark, dataset, folder, monkeypatch, ranks, batch):
    """Losses of all samples of each step: (epochs, steps)."""
    (folder / str(ranks)).mkdir()
    monkeypatch.setenv(FOLDER, str(folder / str(ranks)))
    config = TrainingConfig(
        num_workers=ranks, epochs=EPOCHS, global_batch_size=batch, optimizer=OptimizerConfig("adam")
    )
    launch(spark, TrainTask(str(dataset), ModelConfig("lenet5"), config, recorded, 1), lambda _: None)
    files = [folder / str(ranks) / f"{rank}.json" for rank in range(ranks)]
    running = np.array([json.loads(file.read_text()) for file in files])  # (ranks, epochs, steps, sum and count)
    sums = running.sum(axis=0)
    sums[:, -1] = running[0, :, -1]  # after the last step each rank has those of all
    per_step = np.diff(sums, axis=1, prepend=0.0)
    rows = Manifest.load(dataset).rows()["train"]
    assert per_step[:, :, 1].sum(axis=1).tolist() == [rows] * EPOCHS
    assert per_step[0, -1, 1] == rows % batch
    return per_step[:, :, 0] / per_step[:, :, 1]


def test_losses_per_step_agree_over_ranks(spark, dataset, tmp_path, monkeypatch):
    rows = Manifest.load(dataset).rows()["train"]
    batch = next(size for size in range(38, rows) if rows % size == 2)  # of four ranks, two have none of the last batch
    losses = {n: losses_of_steps(spark, dataset, tmp_path, monkeypatch, n, batch) for n in (1, 2, 4)}
    assert losses[1].size >= 3 * EPOCHS
    assert losses[1][-1].mean() < 0.8 * losses[1][0].mean()  # it learns: agreeing is no matter of course
    for ranks in (2, 4):
        np.testing.assert_allclose(losses[ranks], losses[1], atol=1e-4, err_msg=f"{ranks} ranks")
