"""Checkpoints on disk or in an object store: written atomically, verified when read, limited in number.

Where folders are not renamed, ``state.json``, without which there is no checkpoint, is written last.

<folder>/step-000001875/arrays.npz   weights, optimizer
                        state.json   position, the callbacks' state, the checksum of arrays.npz
<folder>/BEST                        name of the best one
"""

import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from convoy.dataset.storage.durable import sync_open
from convoy.dataset.storage.filesystem import Location, move_file, move_folder, writes_anywhere
from convoy.dataset.storage.object_path import ObjectPath, local_copy, store_problem
from convoy.errors import TrainingError

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

    def __init__(self, folder: Location, keep: int, warn: Callable[[str], None]) -> None:
        self.folder, self.keep, self.warn = folder, keep, warn

    def save(self, checkpoint: Checkpoint, *, best: bool = False) -> None:
        """Write a checkpoint atomically, and then remove the oldest ones.

        Raises:
            OSError: The disk is full, or the folder cannot be written to. Existing checkpoints are kept, and no partial
                files are left.
        """
        if isinstance(self.folder, ObjectPath):
            self._upload(self.folder, checkpoint, best)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".draft-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        draft = self.folder / f".draft-{uuid.uuid4().hex[:12]}"
        final = self.folder / f"step-{checkpoint.step:09d}"
        try:
            draft.mkdir()
            _write(draft, checkpoint, writes_anywhere(self.folder))
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

    def _upload(self, folder: ObjectPath, checkpoint: Checkpoint, best: bool) -> None:
        final = folder / f"step-{checkpoint.step:09d}"
        with tempfile.TemporaryDirectory(prefix="convoy-") as temporary:
            draft = Path(temporary)
            _write(draft, checkpoint)
            (final / _STATE).unlink(missing_ok=True)  # written by an earlier attempt
            (final / _ARRAYS).upload(draft / _ARRAYS)
            (final / _STATE).upload(draft / _STATE)
        if best:
            (folder / _BEST).write_text(final.name)
        with suppress(OSError, TrainingError):  # the next call removes what remains
            self._remove_old()

    def latest(self) -> Checkpoint | None:
        """Return the newest intact checkpoint; ``warn`` is called for a damaged one, and the one before it is read.

        Raises:
            TrainingError: An object store does not give access to the checkpoints.
        """
        for path in reversed(self._paths()):
            if (checkpoint := self._read(path)) is not None:
                return checkpoint
        return None

    def best(self) -> Checkpoint | None:
        """Return the best checkpoint; None if there is none, or it is damaged."""
        name = self._best_name()
        return self._read(self.folder / name) if name else None

    def _read(self, path: Location) -> Checkpoint | None:
        try:
            with _store_errors():
                state = json.loads((path / _STATE).read_text())
                if state["format"] != FORMAT:
                    raise ValueError(f"its format is {state['format']}, this version reads {FORMAT}")
                with local_copy(path / _ARRAYS) as file:
                    if _sha256(file) != state["sha256"]:
                        raise ValueError("its checksum does not match")
                    with np.load(file, allow_pickle=False) as arrays:
                        return Checkpoint(int(state["step"]), dict(arrays), state["state"])
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            self.warn(f"checkpoint {path} is damaged ({error}); using the previous one")
            return None

    def _paths(self) -> list[Location]:
        if isinstance(self.folder, ObjectPath):
            with _store_errors():
                states = [path for path, _ in self.folder.files() if path.name == _STATE]
            return [path.parent for path in states if _NAME.fullmatch(path.parent.name)]
        try:
            return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))
        except FileNotFoundError:
            return []

    def _best_name(self) -> str | None:
        try:
            with _store_errors():
                name = (self.folder / _BEST).read_text().strip()
                return name if _NAME.fullmatch(name) and (self.folder / name).is_dir() else None
        except OSError:
            return None

    def _remove_old(self) -> None:
        best = self._best_name()
        for path in self._paths()[: -self.keep]:
            if path.name == best:
                continue
            if isinstance(path, ObjectPath):
                (path / _STATE).unlink(missing_ok=True)  # first: without it there is no checkpoint
                path.remove_tree()
            else:
                shutil.rmtree(path, ignore_errors=True)


class _Sequential(io.RawIOBase):
    """A file that is written from its beginning to its end: the zip format then has sizes behind the content."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        return self._file.write(content)


def _write(folder: Path, checkpoint: Checkpoint, anywhere: bool = True) -> None:
    """Write the files of a checkpoint to an existing folder, and to the disk.

    Args:
        folder: The folder.
        checkpoint: The checkpoint.
        anywhere: Whether a file can be written before its end.
    """
    with open(folder / _ARRAYS, "wb") as file:
        np.savez(file if anywhere else _Sequential(file), **dict[str, Any](checkpoint.arrays))
        _to_disk(file.fileno())
    state = {
        "format": FORMAT,
        "step": checkpoint.step,
        "sha256": _sha256(folder / _ARRAYS),
        "state": checkpoint.state,
    }
    with open(folder / _STATE, "w") as text:
        json.dump(state, text, indent=1)
        text.flush()
        _to_disk(text.fileno())


@contextmanager
def _store_errors() -> Iterator[None]:
    """Raise ``TrainingError`` if a store does not answer: that is no damage, after which an older one is read."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if (problem := store_problem(error)) is not None:
            raise TrainingError(f"the checkpoints cannot be read: {problem}") from None
        raise


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
