"""Resuming from a checkpoint on each rank: reading it at the start, and the callbacks that save."""

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import keras
import numpy as np

from convoy.config import Config, ModelConfig, TrainingConfig
from convoy.config.locations import stored_absolute
from convoy.console import say
from convoy.dataset.storage.filesystem import location
from convoy.dataset.storage.object_path import ObjectPath, store_problem
from convoy.errors import TrainingError
from convoy.training.callbacks.early_stopping import EarlyStopping, ReduceLROnPlateau
from convoy.training.callbacks.global_metrics import GlobalMetrics
from convoy.training.callbacks.progress_reporter import ProgressReporter, epochs_in
from convoy.training.checkpoint.signature import check_signature, resume_signature
from convoy.training.checkpoint.snapshots import (
    SaveCheckpoints,
    Stateful,
    named,
    read_checkpoint,
    restore_draws,
    restore_weights,
)
from convoy.training.checkpoint.step_counter import StepCounter
from convoy.training.checkpoint.store import Checkpoint, CheckpointStore
from convoy.training.distributed.collective import Collective
from convoy.training.events import Emit, EventError, Resumed, TrainingWarning

_REPORTER, _EARLY_STOPPING = "Report", "EarlyStopping"
# Names of the callbacks in checkpoints. They are part of the file format, so they stay when a class is renamed.
_STATEFUL: dict[str, type] = {
    _REPORTER: ProgressReporter,
    "PlateauRate": ReduceLROnPlateau,
    _EARLY_STOPPING: EarlyStopping,
}


class CheckpointResumer:
    """Restores a rank's training from a checkpoint.

    Create it after the model is compiled and its optimizer is built: on rank 0 it loads the newest checkpoint's values
    into both, and they are broadcast afterwards like initial ones.

    Args:
        folder: Folder of the run's checkpoints; None if nothing is saved.
        resume: Whether to resume from the newest checkpoint.
        config: Section ``training``.
        identity: Values that a checkpoint must have in common with this run.
        model: The compiled model, with its optimizer built.
        collective: The ranks.
        emit: Takes events; used on rank 0.

    Attributes:
        start: (epoch, step) to start with.

    Raises:
        TrainingError: The checkpoint has other data, another network or other settings.
    """

    def __init__(
        self,
        folder: str | None,
        resume: bool,
        config: TrainingConfig,
        identity: Mapping[str, Any],
        model: keras.Model,
        collective: Collective,
        emit: Emit,
    ) -> None:
        self._config, self._identity, self._collective, self._emit = config, identity, collective, emit
        self._store = None
        self._state: dict[str, Any] | None = None
        self.start = (0, 0)
        if folder is None:
            return
        self._store = CheckpointStore(
            location(folder), config.checkpoint.keep, lambda text: emit(TrainingWarning(text))
        )
        if not resume:
            return
        self._state, checkpoint = read_checkpoint(self._store, collective)
        if self._state is None:
            return
        check_signature(self._state["identity"], identity, "the run of the checkpoint")
        if checkpoint is not None:
            restore_weights(model, checkpoint)
        restore_draws(model, self._state)
        self.start = (int(self._state["epoch"]), int(self._state["step"]))
        try:
            done = epochs_in(self._state["callbacks"].get(_REPORTER, {}))
        except EventError as error:
            raise TrainingError(
                f"the checkpoint in {folder} is from another version of Convoy ({error}); resume with that version"
            ) from None
        emit(Resumed(*self.start, done))

    def callbacks(
        self, position: StepCounter, exact: GlobalMetrics, others: Sequence[keras.callbacks.Callback]
    ) -> list[keras.callbacks.Callback]:
        """Restore the state of the other callbacks, and return those that save checkpoints, to be added after them."""
        if self._store is None:
            return []
        stateful: dict[str, Stateful] = {
            name: cast(Stateful, callback)
            for callback in others
            for name, kind in _STATEFUL.items()
            if isinstance(callback, kind)
        }
        save = SaveCheckpoints(
            self._store, self._config, self._collective, position, exact, stateful, self._emit, self._identity
        )
        if self._state is not None:
            for name, callback in stateful.items():
                if name in self._state["callbacks"]:
                    callback.restore(self._state["callbacks"][name])
            save.lowest = float(self._state["lowest"])
            if self._collective.rank == 0:
                exact.carried = np.array(self._state["metrics"], np.float64)
                self._restore_best(stateful)
        return [save]

    def _restore_best(self, stateful: Mapping[str, Stateful]) -> None:
        """Load the best epoch's weights, which early stopping restores at the end, from the best checkpoint."""
        callback = stateful.get(_EARLY_STOPPING)
        if not isinstance(callback, EarlyStopping) or callback.best_epoch is None or not callback.config.restore_best:
            return
        assert self._store is not None
        best = self._store.best()
        if best is None or best.state["epoch"] != callback.best_epoch + 1:
            self._emit(TrainingWarning("the best epoch's checkpoint is missing; later epochs may replace it"))
            callback.patience.restore((-np.inf, 0))
            callback.best_epoch = None
            return
        callback.best_weights = named(best.arrays, "validated") or named(best.arrays, "weights")


def checkpoint_folder(config: TrainingConfig, run_id: str) -> str:
    """Return the absolute path, or the URL, of the folder of a run's checkpoints."""
    return os.path.join(stored_absolute(config.checkpoint.folder), run_id)


def ensure_checkpoint_root(config: TrainingConfig) -> str:
    """Create the folder of all runs' checkpoints if it is missing, and return its absolute path or URL.

    Raises:
        TrainingError: The folder cannot be created, or the object store cannot be written to.
    """
    folder = checkpoint_folder(config, "")
    try:
        if isinstance(place := location(folder), ObjectPath):
            probe = place / f".probe-{uuid.uuid4().hex}"
            probe.write_bytes(b"0")
            probe.unlink()
        else:
            os.makedirs(folder, exist_ok=True)
    except OSError as error:
        if (problem := store_problem(error)) is not None:
            raise TrainingError(
                f"training.checkpoint.folder {config.checkpoint.folder!r} cannot be written to: {problem}"
            ) from None
        raise TrainingError(
            f"training.checkpoint.folder {config.checkpoint.folder!r} cannot be created: {error.strerror};"
            " choose another"
        ) from None
    return folder


def with_cache_of_checkpoint(config: Config) -> Config:
    """Return the configuration with the cache that the run to resume has used, where the configuration says auto.

    The order of samples depends on the cache. It was chosen by the memory of the machines, which may differ now.
    """
    training = config.training
    if training.cache != "auto" or training.resume is None:
        return config
    newest = CheckpointStore(location(checkpoint_folder(training, training.resume)), 1, lambda _: None).latest()
    used = newest.state["identity"].get("training.cache") if newest else None
    return config if used != "none" else replace(config, training=replace(training, cache="none"))


def check_resumable(config: Config, fingerprint: str) -> None:
    """Check a run's newest checkpoint, on the driver before training starts.

    Args:
        config: A configuration with ``training.resume`` set.
        fingerprint: Fingerprint of the dataset.

    Raises:
        TrainingError: There is no checkpoint, it has other data or settings, or all epochs are done.
    """
    training = config.training
    newest = _newest(training)
    model = config.model if config.model.preprocessing != "auto" else resumed_preprocessing(config)
    identity = resume_signature(training, model, fingerprint)
    check_signature(newest.state["identity"], identity, f"run {training.resume}")
    if newest.state["epoch"] >= training.epochs:
        raise TrainingError(
            f"run {training.resume} has trained {newest.state['epoch']} epochs already; raise training.epochs, which is"
            f" {training.epochs}, to resume"
        )


def resumed_preprocessing(config: Config) -> ModelConfig:
    """Return section ``model`` with the ``preprocessing`` of the run that is resumed.

    Raises:
        TrainingError: There is no checkpoint.
    """
    known = _newest(config.training).state["identity"].get("model.preprocessing", config.model.preprocessing)
    return replace(config.model, preprocessing=known)


def _newest(training: TrainingConfig) -> Checkpoint:
    assert training.resume is not None
    if "/" in training.resume or training.resume.startswith("."):
        raise TrainingError(f"training.resume is {training.resume!r}; expected the id of an MLflow run")
    folder = location(checkpoint_folder(training, training.resume))
    newest = CheckpointStore(folder, training.checkpoint.keep, lambda text: say(f"warning: {text}")).latest()
    if newest is None:
        raise TrainingError(
            f"run {training.resume!r} has no checkpoint in {folder}; fix training.resume or training.checkpoint.folder"
        )
    return newest
