"""Checkpoints: whole or not there, damaged ones are passed over, old ones go."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.dataset.storage.object_path import ObjectPath
from convoy.errors import TrainingError
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


def test_checkpoints_in_an_object_store_are_kept_as_on_a_disk(s3, warnings):
    store = CheckpointStore(ObjectPath(s3) / "run", 2, warnings.append)
    assert store.latest() is None is store.best()
    for step in range(4):
        store.save(checkpoint(step), best=step == 0)
    assert store.latest().step == 3
    assert store.best().step == 0
    np.testing.assert_array_equal(store.latest().arrays["weights/0000"], checkpoint(3).arrays["weights/0000"])
    names = [f"step-00000000{step}/{name}" for step in (0, 2, 3) for name in ("arrays.npz", "state.json")]
    assert [path.relative_to(store.folder) for path, _ in store.folder.files()] == ["BEST", *names]
    (store.folder / names[-2]).write_bytes(b"damaged")
    assert store.latest().step == 2
    assert "is damaged (its checksum does not match)" in warnings[0]
    (store.folder / names[-1]).unlink()  # as a writer leaves it that is killed before the last file
    assert store.latest().step == 2
    assert len(warnings) == 1
    store.save(checkpoint(3))
    assert store.latest().step == 3


def test_a_store_without_access_is_not_taken_for_damage(s3, faulty, warnings):
    store = CheckpointStore(ObjectPath(s3) / "run", 2, warnings.append)
    for step in (1, 2):
        store.save(checkpoint(step))
    newest = f"step-{2:09d}"
    faulty.fault = lambda method, path, _: (403, "AccessDenied") if newest in path else None
    with pytest.raises(TrainingError, match="the checkpoints cannot be read: access to the store is denied"):
        store.latest()
    assert warnings == []
    with pytest.raises(OSError, match="access to the store is denied"):
        store.save(checkpoint(2))
    faulty.fault = lambda method, path, _: None
    assert store.latest().step == 2
