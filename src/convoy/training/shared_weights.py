"""Initial weights where every rank can read them: beside the checkpoints."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from convoy.dataset.storage.filesystem import location
from convoy.dataset.storage.object_path import ObjectPath, local_copy
from convoy.errors import TrainingError
from convoy.models.pretrained.transfer import InitialWeights


@contextmanager
def where_ranks_read(weights: InitialWeights | None, folder: str) -> Iterator[InitialWeights | None]:
    """Copy a file of weights to a folder that every rank can read, for the duration of the block.

    The file is on the driver, which has downloaded it or got its path from the user; other machines may not have it.

    Args:
        weights: Weights in a file on the driver; None yields None.
        folder: Folder of the run's checkpoints, shared by the driver and all ranks.

    Raises:
        TrainingError: The file cannot be written there.
    """
    if weights is None:
        yield None
        return
    copy = location(folder) / f".initial-weights-{uuid.uuid4().hex[:12]}"
    try:
        try:
            if isinstance(copy, ObjectPath):
                copy.upload(Path(weights.file))
            else:
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(weights.file, copy)
        except OSError as error:
            raise TrainingError(
                f"model.initial_weights cannot be copied to {folder} for the ranks ({error.strerror}); free disk space"
                " there, or choose another training.checkpoint.folder"
            ) from None
        yield replace(weights, file=str(copy))
    finally:
        if isinstance(copy, ObjectPath):
            with suppress(OSError):
                copy.unlink(missing_ok=True)
        else:
            copy.unlink(missing_ok=True)
            with suppress(OSError):  # there are checkpoints
                copy.parent.rmdir()


@contextmanager
def on_this_machine(weights: InitialWeights) -> Iterator[InitialWeights]:
    """Yield the weights in a local file: the file itself, or a temporary copy of an object."""
    with local_copy(location(weights.file)) as file:
        yield replace(weights, file=str(file))
