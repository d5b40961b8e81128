"""A training that is cut off and goes on from a checkpoint ends as one that was not, bit by bit."""

import functools
import json
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from convoy.config import (
    CheckpointConfig,
    EarlyStoppingConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainingConfig,
)
from convoy.errors import TrainingError
from convoy.models.layers.blocks import normalise
from convoy.training import loop
from convoy.training.distributed.collective import SingleProcess
from convoy.training.events import Epoch, Resumed, Step, TrainingWarning
from convoy.training.loop import TrainTask, load_trained, train
from tests.dataset.versions import write_version

pytestmark = pytest.mark.train

ROWS, BATCH = 50, 8  # seven steps, the last of two samples
CLASSES = ("cat", "dog")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    samples = [(f"{i}.png", f"{i:032d}", "train", CLASSES[i % 2]) for i in range(ROWS)]
    samples += [(f"v{i}.png", f"{i + 900:032d}", "validation", CLASSES[i % 2]) for i in range(9)]
    statistics = {"pixel_mean": [128.0], "pixel_std": [74.0]}
    return write_version(tmp_path_factory.mktemp("data"), "aaa", samples, pixels=np.random.default_rng(0), **statistics)


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """Name of settings -> model and events of a training that nothing cuts off, of three epochs; run once each."""

    @functools.cache
    def trained(settings):
        return run(dataset, tmp_path_factory.mktemp("whole"), **SETTINGS[settings])

    return trained


@pytest.fixture(scope="module")
def trained_once(dataset, tmp_path_factory) -> Path:
    """The checkpoints of a training of one epoch, to look at."""
    folder = tmp_path_factory.mktemp("once")
    run(dataset, folder, epochs=1)
    return folder


@pytest.fixture(autouse=True, scope="module")
def _one_process():
    """TensorFlow's threads can be set once per process only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.tf.config.threading, "set_intra_op_parallelism_threads", lambda _: None)
        patch.setattr(loop.tf.config.threading, "set_inter_op_parallelism_threads", lambda _: None)
        yield


def network(name, shape, classes, mean, std, dtype="uint8"):
    """Everything that has to be remembered: dropout's draws, moving statistics."""
    image = keras.Input(shape, dtype=dtype)
    x = keras.layers.Flatten()(normalise(image, mean, std))
    x = keras.layers.BatchNormalization(momentum=0.5)(keras.layers.Dense(8, activation="tanh")(x))
    x = keras.layers.Dropout(0.3)(x)
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax")(x))


class Killed(Exception):
    pass


def run(dataset, folder, collective=None, kill_after=None, resume=False, **settings):
    """Train; with ``kill_after`` die after so many steps. Returns the model and the events."""
    options = {"num_workers": 0, "epochs": 3, "global_batch_size": BATCH, "optimizer": OptimizerConfig("adam", 0.01)}
    options |= {"checkpoint": CheckpointConfig(str(folder), every_steps=3), **settings}
    task = TrainTask(str(dataset), ModelConfig(), TrainingConfig(**options), network, 0, str(folder), resume)
    events = []

    def emit(event):
        events.append(event)
        done = event.epoch * event.steps + event.step if isinstance(event, Step) else 0
        if kill_after is not None and done >= kill_after:
            raise Killed

    return train(task, collective or SingleProcess(), emit), events


@pytest.fixture
def every_step(monkeypatch):
    monkeypatch.setattr(loop.ProgressReporter, "every", 0.0)


def epochs(events):
    return {event.epoch: event.metrics for event in events if isinstance(event, Epoch)}


SETTINGS = {
    "plain": {},
    "schedule, average": {
        "schedule": ScheduleConfig("cosine", warmup_epochs=1),
        "accumulation_steps": 2,
        "optimizer": OptimizerConfig("nesterov", 0.05, ema_momentum=0.8),
    },
    "plateau": {"schedule": ScheduleConfig("plateau", patience=1), "optimizer": OptimizerConfig("momentum", 0.5)},
    "stopping": {"early_stopping": EarlyStoppingConfig(patience=5, min_delta=0.5)},
}


@pytest.mark.parametrize(
    ("settings", "kill_after"),
    [
        *[("plain", 2), ("schedule, average", 9), ("plateau", 20)],
        *[pytest.param(*case, marks=pytest.mark.long) for case in (("plain", 5), ("schedule, average", 14))],
        *[pytest.param("stopping", after, marks=pytest.mark.long) for after in (8, 20)],
    ],
)
def test_a_killed_training_that_goes_on_ends_with_the_same_bits(
    dataset, tmp_path, every_step, whole, settings, kill_after
):
    options = SETTINGS[settings]
    expected, undisturbed = whole(settings)
    with pytest.raises(Killed):
        run(dataset, tmp_path / "cut", kill_after=kill_after, **options)
    trained, rest = run(dataset, tmp_path / "cut", resume=True, **options)
    assert trained.weights_sha256 == expected.weights_sha256
    for epoch, metrics in epochs(rest).items():
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
            assert metrics[name] == pytest.approx(epochs(undisturbed)[epoch][name], rel=1e-5), (epoch, name)
    if kill_after > 4:
        assert isinstance(rest[0], Resumed)
        done = [event.epoch for event in rest[0].done] + list(epochs(rest))
        assert done == list(range(3))  # a driver that knows nothing hears of each epoch once


def test_a_finished_run_can_be_made_longer(dataset, tmp_path, whole, trained_once):
    shutil.copytree(trained_once, tmp_path / "longer")
    trained, rest = run(dataset, tmp_path / "longer", resume=True)
    assert trained.weights_sha256 == whole("plain")[0].weights_sha256
    assert sorted(epochs(rest)) == [1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, r"was trained with training\.seed 0, not 1; resume it with that"),
        ({"global_batch_size": 16}, r"training\.global_batch_size 8, not 16"),
        ({"optimizer": OptimizerConfig("sgd")}, r"training\.optimizer\.name 'adam', not 'sgd'"),
    ],
)
def test_another_run_is_not_gone_on_with(dataset, trained_once, options, message):
    with pytest.raises(TrainingError, match=message):
        run(dataset, trained_once, resume=True, **options)


def test_epochs_in_a_checkpoint_keep_their_form_and_another_form_is_refused(dataset, tmp_path, trained_once):
    shutil.copytree(trained_once, tmp_path / "run")
    file = max((tmp_path / "run").glob("step-*/state.json"))
    content = json.loads(file.read_text())
    (epoch,) = content["state"]["callbacks"]["Report"]["done"]
    assert list(epoch) == ["type", "epoch", "epochs", "seconds", "metrics"]
    epoch["colour"] = "red"
    file.write_text(json.dumps(content))
    with pytest.raises(TrainingError, match=r"another version of Convoy .*'epoch'.*'colour'.*resume with that version"):
        run(dataset, tmp_path / "run", resume=True)


def narrow(name, shape, classes, mean, std, dtype="uint8"):
    image = keras.Input(shape, dtype=dtype)
    x = keras.layers.Flatten()(normalise(image, mean, std))
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax")(x))


def test_a_checkpoint_of_another_network_is_refused(dataset, trained_once, monkeypatch):
    """The name in the configuration may be the same, and the code behind it another."""
    monkeypatch.setattr(sys.modules[__name__], "network", narrow)
    with pytest.raises(TrainingError, match=r"at step 7 has other weights than the configured model: .*expected"):
        run(dataset, trained_once, resume=True)


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(dataset, tmp_path, every_step, whole):
    with pytest.raises(Killed):
        run(dataset, tmp_path / "cut", kill_after=20)
    newest = sorted((tmp_path / "cut").glob("step-*"))[-1]
    content = (newest / "arrays.npz").read_bytes()
    (newest / "arrays.npz").write_bytes(content[: len(content) // 2])
    trained, rest = run(dataset, tmp_path / "cut", resume=True)
    assert isinstance(rest[0], TrainingWarning)
    assert f"checkpoint {newest} is damaged" in rest[0].text
    assert trained.weights_sha256 == whole("plain")[0].weights_sha256


def test_training_goes_on_without_checkpoints_when_none_can_be_saved(dataset, tmp_path):
    (tmp_path / "file").write_text("in the way")
    trained, events = run(dataset, tmp_path / "file" / "run")
    warnings = [event.text for event in events if isinstance(event, TrainingWarning)]
    assert len(warnings) == 1  # not one for each
    assert "no checkpoint could be saved" in warnings[0]
    assert np.isfinite(load_trained(trained).get_weights()[0]).all()


def test_seconds_count_as_well(dataset, tmp_path, every_step):
    settings = {"checkpoint": CheckpointConfig(str(tmp_path), every_seconds=1e-6, keep=50), "epochs": 4}
    run(dataset, tmp_path / "run", **settings)
    steps = [int(path.name[5:]) for path in sorted((tmp_path / "run").glob("step-*"))]
    assert steps == [7, 14, 16, 21, 28]  # every epoch, and the sixteenth step, when ranks look at rank 0's clock
