"""Splits in an object store: the same batches as from local files, few requests, a bounded cache, faults and damage."""

import dataclasses
import os

import numpy as np
import pytest

from convoy.dataset.reading import remote_parquet
from convoy.dataset.reading.block_cache import BlockCache
from convoy.dataset.reading.examples import read_examples, read_samples
from convoy.dataset.storage import object_path
from convoy.dataset.storage.object_path import ObjectPath
from convoy.errors import DatasetError
from tests.dataset.epochs import IMAGES, LABELS, NAMES, epoch_of, opened


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no files that were opened before."""
    remote_parquet.remote_parquet.cache_clear()
    found = BlockCache(tmp_path / "cache", 1 << 30)
    monkeypatch.setattr(remote_parquet, "cache", lambda: found)
    return found


@pytest.fixture
def stored(versions, s3):
    """The versions of ``versions``, uploaded: codec -> (path, manifest)."""

    def upload(codec):
        folder, manifest = versions[codec]
        for path in (each for each in folder.rglob("*") if each.is_file()):
            (ObjectPath(s3) / codec / path.relative_to(folder).as_posix()).upload(path)
        return ObjectPath(s3) / codec, manifest

    return {codec: upload(codec) for codec in ("raw", "png")}


def assert_equal(first, second):
    for ours, theirs in zip(first, second, strict=True):
        for part, other in zip(ours, theirs, strict=True):
            for name in NAMES:
                np.testing.assert_array_equal(getattr(part, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("codec", ["raw", "png"])
def test_batches_are_those_of_local_files(versions, stored, cache, codec):
    for mode in ("none", "memory"):
        local = epoch_of(opened(versions, codec, mode, partners=True), 1, 2)
        assert_equal(epoch_of(opened(stored, codec, mode, partners=True), 1, 2), local)
    rows = np.array([40, 3, 46])
    ours, theirs = read_samples(*stored[codec], "train", rows), read_samples(*versions[codec], "train", rows)
    np.testing.assert_array_equal(ours.images, theirs.images)
    assert ours.paths == theirs.paths
    np.testing.assert_array_equal(read_examples(*stored[codec], "train"), IMAGES[:4])


def test_row_groups_are_read_once_and_then_from_the_cache(stored, cache, faulty):
    reader = opened(stored)
    epoch_of(reader, 0)
    groups, files = len(reader._files.groups), len(reader._files._entries)
    gets = [path for method, path in faulty.requests if method == "GET"]
    # Of each file the footer, of each row group the images and the labels: small ones are read together.
    assert len(gets) <= files + 2 * groups
    del faulty.requests[:]
    epoch_of(reader, 1)
    remote_parquet.remote_parquet.cache_clear()  # as in another process
    epoch_of(opened(stored), 2, ranks=2)
    assert [path for method, path in faulty.requests if method == "GET"] == []


@pytest.mark.parametrize("fault", [pytest.param(503, marks=pytest.mark.long), "cut"])
def test_faults_that_pass_are_not_seen(stored, cache, faulty, fault):
    faulty.fault = lambda method, path, number: fault if method == "GET" and number % 5 == 2 else None
    for step in epoch_of(opened(stored)):
        for part in step:
            np.testing.assert_array_equal(part.images, IMAGES[part.rows])
            np.testing.assert_array_equal(part.labels, LABELS[part.rows])
    assert len(faulty.requests) > 10


@pytest.mark.long
def test_a_store_that_is_lost_is_named(stored, cache, faulty, monkeypatch):
    monkeypatch.setattr(object_path, "RETRY_SECONDS", 0.2)
    reader = opened(stored)
    faulty.fault = lambda method, *_: (400, "ExpiredToken") if method == "GET" else None
    with pytest.raises(DatasetError, match=r"the dataset cannot be read: the credentials have expired .*: s3://"):
        epoch_of(reader)


@pytest.mark.long
def test_a_file_that_is_replaced_while_it_is_read_is_noticed(stored, cache):
    path, _ = stored["raw"]
    reader = opened(stored)
    first = next((path / "train").glob("*.parquet"))
    content = first.read_bytes()
    first.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    with pytest.raises(DatasetError, match="was replaced by another one while it was read"):
        epoch_of(reader)


@pytest.mark.long
def test_damage_is_named(stored, cache):
    path, manifest = stored["raw"]
    first, second = list((path / "train").glob("*.parquet"))[:2]
    content = first.read_bytes()
    first.write_bytes(content + b"1")
    with pytest.raises(DatasetError, match=rf"{first.name} cannot be read .*the manifest says"):
        opened(stored)
    first.write_bytes(content[:-4] + b"XXXX")
    with pytest.raises(DatasetError, match="is not a Parquet file"):
        opened(stored)
    first.unlink()
    with pytest.raises(DatasetError, match=f"there is no such object: {first}"):
        opened(stored)
    first.write_bytes(content)
    entries = manifest.splits["train"].files
    entries = [dataclasses.replace(entries[0], row_groups=[1]), *entries[1:]]
    split = dataclasses.replace(manifest.splits["train"], files=entries)
    other = dataclasses.replace(manifest, splits={"train": split})
    with pytest.raises(DatasetError, match=r"row groups of .*, the manifest says \[1\]"):
        opened({"raw": (path, other)})
    assert second.is_file()


def test_the_cache_stays_small_and_keeps_what_was_used_last(tmp_path):
    cache = BlockCache(tmp_path / "cache", 1000)
    for number in range(50):
        cache.put(str(number), bytes([number]) * 100)
        os.utime(cache._file(str(number)), (number, number))
        cache.get("0", 100)
    assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= 1100
    assert cache.get("49", 100) == bytes([49]) * 100
    assert cache.get("0", 100) == bytes(100)
    assert cache.get("1", 100) is None


def test_damaged_entries_of_the_cache_are_not_used(tmp_path):
    cache = BlockCache(tmp_path / "cache", 1000)
    cache.put("a", b"x" * 100)
    file = cache._file("a")
    for content in (file.read_bytes()[:-1], b"y" + file.read_bytes()[1:], b""):
        file.write_bytes(content)
        assert cache.get("a", 100) is None
        assert not file.exists()
        cache.put("a", b"x" * 100)
    assert cache.get("a", 99) is None


def test_a_cache_that_others_could_write_to_is_not_used(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "open")
    (tmp_path / "file").touch()
    for name in ("open", "link", "file"):
        cache = BlockCache(tmp_path / name)
        cache.put("a", b"x")
        assert cache.get("a", 1) is None
        assert not list((tmp_path / "open").iterdir())
