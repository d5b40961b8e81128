"""Checkpoints: whole or not there, damaged ones are passed over, old ones go."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.training.checkpoint.store import Checkpoint, CheckpointStore


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def store(tmp_path, warnings) -> CheckpointStore:
    return CheckpointStore(tmp_path / "run", 2, warnings.append)


def checkpoint(step):
    arrays = {"weights/0000": np.full((3, 2), step, np.float32), "optimizer/0000": np.array(step)}
    return Checkpoint(step, arrays, {"epoch": step, "lowest": float("inf")})


def steps(store):
    return [int(path.name[5:]) for path in sorted(store.folder.glob("step-*"))]


def test_what_was_saved_is_read(store):
    store.save(checkpoint(7))
    read = store.latest()
    assert (read.step, read.state) == (7, {"epoch": 7, "lowest": float("inf")})
    assert {name: value.tolist() for name, value in read.arrays.items()} == {
        name: value.tolist() for name, value in checkpoint(7).arrays.items()
    }


def test_nothing_saved_is_nothing_read(store):
    assert store.latest() is None
    assert store.best() is None


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 4))
def test_the_newest_and_the_best_are_kept(tmp_path_factory, bests, keep):
    store = CheckpointStore(tmp_path_factory.mktemp("run"), keep, pytest.fail)
    for step, best in enumerate(bests):
        store.save(checkpoint(step), best=best)
    newest = list(range(len(bests)))[-keep:]
    best = max((step for step, is_best in enumerate(bests) if is_best), default=None)
    assert steps(store) == sorted({*newest, *([] if best is None else [best])})
    assert (store.best().step if store.best() else None) == best
    assert store.latest().step == len(bests) - 1


def test_every_flipped_bit_and_every_cut_is_noticed(store, warnings):
    store.save(checkpoint(1))
    store.save(checkpoint(2))
    newest = store.folder / "step-000000002"
    generator = np.random.default_rng(0)
    for name in ("arrays.npz", "state.json"):
        content = (newest / name).read_bytes()
        for at in generator.integers(0, len(content), 20):
            damaged = bytearray(content)
            damaged[at] ^= 1 << int(generator.integers(0, 8))
            (newest / name).write_bytes(damaged)
            read = store.latest()
            assert read.step == 1 or name == "state.json", at  # a digit of a loss may change unseen
            (newest / name).write_bytes(content[:at])
            assert store.latest().step == 1
        (newest / name).write_bytes(content)
    assert store.latest().step == 2
    assert all("step-000000002 is damaged (" in text for text in warnings)


def test_a_missing_file_is_a_damaged_checkpoint(store, warnings):
    store.save(checkpoint(1))
    store.save(checkpoint(2))
    (store.folder / "step-000000002" / "state.json").unlink()
    assert store.latest().step == 1
    assert len(warnings) == 1


def test_a_writer_that_died_leaves_nothing_that_counts(store):
    store.save(checkpoint(1))
    half = store.folder / ".draft-dead"
    half.mkdir()
    (half / "arrays.npz").write_bytes(b"half")
    assert store.latest().step == 1
    store.save(checkpoint(2))
    assert not half.exists()


def test_a_failed_save_changes_nothing(store, monkeypatch):
    store.save(checkpoint(1), best=True)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            store.save(checkpoint(2))
    assert [path.name for path in Path(store.folder).iterdir() if path.name.startswith(".draft")] == []
    assert store.latest().step == 1
    store.save(checkpoint(2))
    assert store.latest().step == 2


def test_the_same_step_is_replaced(store):
    store.save(checkpoint(3))
    store.save(Checkpoint(3, {"weights/0000": np.zeros(1)}, {}))
    assert store.latest().arrays["weights/0000"].shape == (1,)
