"""Versions in an object store: visible when their manifest is there, and only what dead writers left is removed."""

import json
import os
import threading

import numpy as np
import pytest

from convoy.dataset.storage import catalog, object_catalog
from convoy.dataset.storage.diff import diff
from convoy.dataset.storage.durable import ABANDONED_SECONDS
from convoy.dataset.storage.manifest import NAME, Manifest
from convoy.dataset.storage.object_catalog import StagedVersion, collect, data_file, upload_data
from convoy.dataset.storage.object_path import ObjectPath
from convoy.dataset.storage.verify import is_whole, verify
from convoy.errors import DatasetError
from tests.dataset.versions import samples, write_version

NAMES = [*samples(9), *samples(4, "validation")]


def names(place):
    """Names of all objects, those of data files without their writer."""
    return sorted(object_catalog._WRITER.sub(".parquet", path.relative_to(place)) for path, _ in place.files())


def test_a_version_is_found_verified_and_compared(s3):
    assert catalog.names(s3) == [] == catalog.versions(s3, "animals")
    path = write_version(s3, "aaa", NAMES, quarantined=2)
    assert path == ObjectPath(f"{s3}/animals/aaa")
    assert catalog.names(s3) == ["animals"]
    assert catalog.find(s3, "animals", "latest") == catalog.find(s3, "animals", "aaa") == path
    assert is_whole(path)
    assert verify(path) == []
    other = write_version(s3, "bbb", [*NAMES, ("cat/new.png", "0" * 32, "train", "cat")])
    assert catalog.versions(s3, "animals") == ["aaa", "bbb"]
    assert catalog.find(s3, "animals", "latest") == other
    catalog.set_latest(path)
    assert catalog.find(s3, "animals", "latest") == path
    assert (diff(path, other).added, diff(path, other).unchanged) == (1, len(NAMES))
    assert names(ObjectPath(s3) / "animals" / "aaa") == [
        NAME,
        "quarantine/part-00000.parquet",
        "train/_common_metadata",
        *(f"train/part-0000{i}.parquet" for i in range(3)),
        "validation/_common_metadata",
        "validation/part-00000.parquet",
    ]
    assert [path.name for path in (ObjectPath(s3) / "animals").iterdir()] == ["LATEST", "aaa", "bbb"]


@pytest.mark.long
def test_damage_is_found(s3):
    path = write_version(s3, "aaa", NAMES)
    [first, second, third] = (path / "train").glob("*.parquet")
    content = first.read_bytes()
    first.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    second.write_bytes(second.read_bytes() + b"1")
    third.unlink()
    (path / "train" / "more").write_bytes(b"")
    assert not is_whole(path)
    problems = verify(path)
    for text in ("SHA-256 is", "bytes, the manifest says", "is missing", "train/more: is not in the manifest"):
        assert any(text in problem for problem in problems)


def test_a_writer_that_fails_leaves_nothing(s3):
    def fail():
        with catalog.staging(s3, "animals", "aaa") as staged:
            (staged / "train" / data_file("part-00000.parquet", staged.writer)).write_bytes(b"1")
            (staged / "train" / "_common_metadata").write_bytes(b"1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert ObjectPath(s3).files() == []


def kill_at(root, step):
    """Run a writer of version bbb that is killed before or after its nth change; returns its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        changes = 0

        def counted(real):
            def call(self, *arguments, **options):
                nonlocal changes
                for before in (True, False):
                    changes += 1
                    if changes == step:
                        os._exit(9)
                    if before:
                        result = real(self, *arguments, **options)
                return result

            return call

        for name in ("write_bytes", "create", "unlink"):
            setattr(ObjectPath, name, counted(getattr(ObjectPath, name)))
        write_version(root, "bbb", NAMES)
    finally:
        os._exit(0)


@pytest.mark.long
@pytest.mark.parametrize("step", range(1, 30))
def test_a_writer_that_is_killed_at_any_change_leaves_whole_versions_and_the_next_one_removes_the_rest(s3, step):
    first = write_version(s3, "aaa", NAMES)
    assert kill_at(s3, step) in (0, 9)
    for version in catalog.versions(s3, "animals"):
        assert verify(catalog.find(s3, "animals", version)) == []
    assert catalog.find(s3, "animals", "latest").name in catalog.versions(s3, "animals")
    second = write_version(s3, "bbb", NAMES) if "bbb" not in catalog.versions(s3, "animals") else None
    last = write_version(s3, "ccc", NAMES)
    assert verify(first) == verify(last) == [] == (verify(second) if second else [])
    listed = {f"{path.relative_to(last.parent)}" for path, _ in last.parent.files()}
    expected = {"LATEST"}
    for version in ("aaa", "bbb", "ccc"):
        manifest = Manifest.load(last.parent / version)
        expected |= {f"{version}/{NAME}"} | {f"{version}/{split}/_common_metadata" for split in manifest.splits}
        expected |= {f"{version}/{n}/{f.name}" for n, split in manifest.splits.items() for f in split.files}
    assert listed == expected


@pytest.mark.long
def test_files_of_writers_that_live_are_kept(s3):
    with catalog.staging(s3, "animals", "aaa") as staged:
        kept = staged / "train" / data_file("part-00000.parquet", staged.writer)
        kept.write_bytes(b"1")
        write_version(s3, "bbb", NAMES)
        write_version(s3, "aaa", NAMES)  # even of the same version
        assert kept.read_bytes() == b"1"
        with catalog.publishing(staged) as first:
            assert not first
    assert not kept.exists()
    assert verify(ObjectPath(f"{s3}/animals/aaa")) == []


@pytest.mark.long
def test_files_of_writers_on_other_machines_are_removed_when_they_are_old(s3, monkeypatch):
    home = ObjectPath(s3) / "animals"
    staged = StagedVersion((home / "aaa").url, "00000000-0123456789ab")
    staged.marker.write_bytes(b"aaa")
    (staged / "train" / data_file("part-00000.parquet", staged.writer)).write_bytes(b"1")
    write_version(s3, "bbb", NAMES)
    assert len(staged.files()) == 1
    monkeypatch.setattr("convoy.dataset.storage.durable.ABANDONED_SECONDS", -60.0)
    collect(home)
    assert staged.files() == [] == list(home.glob(".*"))
    assert ABANDONED_SECONDS > 3600


@pytest.mark.long
def test_a_task_that_outlives_its_writer_leaves_nothing(s3, tmp_path, monkeypatch):
    staged = StagedVersion(f"{s3}/animals/aaa", "00000000-0123456789ab")
    target = staged / "train" / data_file("part-00000.parquet", staged.writer)
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(FileNotFoundError, match="has ended"):
        upload_data(tmp_path / "file", target, staged.marker)
    staged.marker.write_bytes(b"aaa")
    upload_data(tmp_path / "file", target, staged.marker)
    assert target.read_bytes() == b"1"
    real = ObjectPath.upload

    def removed_meanwhile(self, file):
        staged.marker.unlink()
        real(self, file)

    monkeypatch.setattr(ObjectPath, "upload", removed_meanwhile)
    with pytest.raises(FileNotFoundError, match="has ended"):
        upload_data(tmp_path / "file", target, staged.marker)
    assert not target.exists()


@pytest.mark.long
def test_of_writers_of_one_version_at_the_same_time_one_publishes(s3):
    start, results = threading.Barrier(3), []
    threads = [threading.Thread(target=competing, args=(s3, start, results, number)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, True]
    path = ObjectPath(s3) / "animals" / "aaa"
    assert verify(path) == []
    assert [each.name for each in path.parent.glob(".*")] == []
    assert len([each for each, _ in path.files() if each.suffix == ".parquet" and "train" in str(each)]) == 3


def competing(root, start, results, number):
    """Write a version with data of its own, and publish it if no other has."""
    start.wait()
    published = write_version(root, "aaa", NAMES, pixels=np.random.default_rng(number), wait=start.wait)
    results.append(published is not None)


@pytest.mark.long
def test_a_damaged_version_is_written_again(s3):
    path = write_version(s3, "aaa", NAMES, quarantined=1)
    [first, *_] = (path / "train").glob("*.parquet")
    first.unlink()
    assert not is_whole(path)
    write_version(s3, "aaa", NAMES)
    assert is_whole(path)
    assert verify(path) == []  # the quarantine of the damaged one is gone, too


@pytest.mark.long
def test_a_manifest_that_cannot_be_read_removes_nothing(s3):
    path = write_version(s3, "aaa", NAMES)
    before = [each for each, _ in path.files()]
    (path / NAME).write_text(json.dumps({"splits": 1}))
    collect(path.parent)
    assert [each for each, _ in path.files()] == before


@pytest.mark.long
def test_errors_of_the_store_are_one_line(s3, faulty, monkeypatch):
    faulty.fault = lambda *_: (403, "AccessDenied")
    for call in (
        lambda: catalog.names(s3),
        lambda: catalog.versions(s3, "animals"),
        lambda: catalog.find(s3, "animals", "latest"),
    ):
        with pytest.raises(DatasetError, match=r"dataset.root 's3://.*' cannot be read: access to the store is denied"):
            call()
    with (
        pytest.raises(DatasetError, match=r"cannot be written to: access to the store is denied"),
        catalog.staging(s3, "animals", "aaa"),
    ):
        pass
    faulty.fault = lambda *_: None
    with (
        pytest.raises(DatasetError, match="cannot be written to: there is no such bucket"),
        catalog.staging("s3://no-such-bucket/x", "animals", "aaa"),
    ):
        pass


@pytest.mark.long
def test_an_error_of_a_worker_is_one_line(s3):
    text = f"Job aborted.\n  File x\nPermissionError: [Errno 13] the credentials have expired (x): '{s3}/a'\nmore"
    with (
        pytest.raises(DatasetError, match=rf"cannot be written to: the credentials have expired \(x\): {s3}/a;"),
        catalog.staging(s3, "animals", "aaa"),
    ):
        raise RuntimeError(text)
