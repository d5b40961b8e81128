"""Checkpoints on disk: written atomically, verified when read, limited in number. Pure: NumPy and files.

On a file system that does not rename folders, ``state.json``, without which there is no checkpoint, is written last.

<folder>/step-000001875/arrays.npz   weights, optimizer
                        state.json   position, the callbacks' state, the checksum of arrays.npz
<folder>/BEST                        name of the best one
"""

import hashlib
import json
import os
import re
import shutil
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from convoy.dataset.storage.durable import sync_open
from convoy.dataset.storage.filesystem import move_file, move_folder

FORMAT = 1
_ARRAYS, _STATE, _BEST = "arrays.npz", "state.json", "BEST"
_NAME = re.compile(r"step-\d{9,}")


@dataclass(frozen=True)
class Checkpoint:
    """The state of training at a step.

    Attributes:
        step: Number of steps since the beginning, over all epochs.
        arrays: Weights and the optimizer's variables, by name.
        state: Everything else, as JSON values.
    """

    step: int
    arrays: Mapping[str, np.ndarray]
    state: dict[str, Any] = field(default_factory=dict)


class CheckpointStore:
    """The checkpoints of one run, in a separate folder with a single writer.

    Args:
        folder: Folder of the checkpoints; created by the first ``save``.
        keep: Number of newest checkpoints that are kept, in addition to the best one.
        warn: Takes a line about a damaged checkpoint.
    """

    def __init__(self, folder: Path, keep: int, warn: Callable[[str], None]) -> None:
        self.folder, self.keep, self.warn = folder, keep, warn

    def save(self, checkpoint: Checkpoint, *, best: bool = False) -> None:
        """Write a checkpoint atomically, and then remove the oldest ones.

        Raises:
            OSError: The disk is full, or the folder cannot be written to. Existing checkpoints are kept, and no partial
                files are left.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".draft-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        draft = self.folder / f".draft-{uuid.uuid4().hex[:12]}"
        final = self.folder / f"step-{checkpoint.step:09d}"
        try:
            draft.mkdir()
            with open(draft / _ARRAYS, "wb") as file:
                np.savez(file, **dict[str, Any](checkpoint.arrays))
                _to_disk(file.fileno())
            state = {
                "format": FORMAT,
                "step": checkpoint.step,
                "sha256": _sha256(draft / _ARRAYS),
                "state": checkpoint.state,
            }
            with open(draft / _STATE, "w") as text:
                json.dump(state, text, indent=1)
                text.flush()
                _to_disk(text.fileno())
            if final.exists():  # written by an earlier attempt
                shutil.rmtree(final)
            move_folder(draft, final, _STATE)
            if best:
                pointer = self.folder / f".draft-{uuid.uuid4().hex[:12]}"
                pointer.write_text(final.name)
                move_file(pointer, self.folder / _BEST)
            _sync_folder(self.folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        self._remove_old()

    def latest(self) -> Checkpoint | None:
        """Return the newest intact checkpoint; ``warn`` is called for a damaged one, and the one before it is read."""
        for path in reversed(self._paths()):
            if (checkpoint := self._read(path)) is not None:
                return checkpoint
        return None

    def best(self) -> Checkpoint | None:
        """Return the best checkpoint; None if there is none, or it is damaged."""
        name = self._best_name()
        return self._read(self.folder / name) if name else None

    def _read(self, path: Path) -> Checkpoint | None:
        try:
            state = json.loads((path / _STATE).read_text())
            if state["format"] != FORMAT:
                raise ValueError(f"its format is {state['format']}, this version reads {FORMAT}")
            if _sha256(path / _ARRAYS) != state["sha256"]:
                raise ValueError("its checksum does not match")
            with np.load(path / _ARRAYS, allow_pickle=False) as arrays:
                return Checkpoint(int(state["step"]), dict(arrays), state["state"])
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            self.warn(f"checkpoint {path} is damaged ({error}); using the previous one")
            return None

    def _paths(self) -> list[Path]:
        try:
            return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))
        except FileNotFoundError:
            return []

    def _best_name(self) -> str | None:
        try:
            name = (self.folder / _BEST).read_text().strip()
        except OSError:
            return None
        return name if _NAME.fullmatch(name) and (self.folder / name).is_dir() else None

    def _remove_old(self) -> None:
        best = self._best_name()
        for path in self._paths()[: -self.keep]:
            if path.name != best:
                shutil.rmtree(path, ignore_errors=True)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(descriptor: int) -> None:
    sync_open(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # not supported by the file system
    finally:
        os.close(descriptor)
