"""Versions under a root: seen whole or not at all."""

import os
import threading
from pathlib import Path

import pytest

from convoy.dataset.storage import catalog
from convoy.dataset.storage.manifest import NAME
from convoy.errors import DatasetError


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "datasets")


def publish(root, name, version, content="{}"):
    with catalog.staging(root, name) as staged:
        (staged / NAME).write_text(content)
        return catalog.publish(staged, version)


def files_below(folder):
    return sorted(os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names)


def test_published_version_is_found_by_its_id_and_as_latest(root):
    path = publish(root, "digits", "aaa", content='{"a": 1}')
    assert path.is_absolute()
    assert catalog.find(root, "digits", "aaa") == catalog.find(root, "digits", "latest") == path
    assert (path / NAME).read_text() == '{"a": 1}'
    assert files_below(root) == sorted(["digits/LATEST", f"digits/aaa/{NAME}"])


def test_latest_is_the_last_published_and_can_be_set(root):
    first, second = publish(root, "digits", "bbb"), publish(root, "digits", "aaa")
    assert catalog.find(root, "digits", "latest") == second
    catalog.set_latest(first)
    assert catalog.find(root, "digits", "latest") == first


def test_latest_is_the_newest_where_nothing_says_which(root):
    for age, version in ((30, "bbb"), (10, "aaa"), (20, "ccc")):
        path = publish(root, "digits", version)
        os.utime(path / NAME, (1e9 - age, 1e9 - age))
    (path.parent / "LATEST").unlink()
    assert catalog.versions(root, "digits") == ["bbb", "ccc", "aaa"]
    assert catalog.find(root, "digits", "latest").name == "aaa"


def test_unfinished_version_is_invisible(root):
    publish(root, "digits", "aaa")
    with catalog.staging(root, "digits") as staged:
        (staged / NAME).write_text("{}")
        assert catalog.versions(root, "digits") == ["aaa"]
        assert catalog.names(root) == ["digits"]
    (staged.parent / "bbb").mkdir()  # a folder without a manifest is no version
    assert catalog.versions(root, "digits") == ["aaa"]


def test_failure_leaves_nothing_behind(root):
    def fail():
        with catalog.staging(root, "digits") as staged:
            (staged / "part-00000.parquet").write_text("half")
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        fail()
    assert files_below(root) == []
    assert catalog.versions(root, "digits") == []


def test_writers_of_the_same_version_end_with_one_whole_version(root):
    found, barrier = [], threading.Barrier(8)

    def write():
        with catalog.staging(root, "digits") as staged:
            (staged / NAME).write_text("{}")
            barrier.wait()
            found.append(catalog.publish(staged, "aaa"))

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [catalog.find(root, "digits", "latest")] * 8
    assert files_below(root) == sorted(["digits/LATEST", f"digits/aaa/{NAME}"])


def test_missing_dataset_is_named_with_those_that_there_are(root):
    publish(root, "cats", "aaa")
    publish(root, "digits", "aaa")
    os.makedirs(f"{root}/empty")
    with open(f"{root}/notes.txt", "w"):
        pass
    with pytest.raises(DatasetError, match=r"no dataset 'digit' .*it holds cats, digits; did you mean 'digits'\?"):
        catalog.find(root, "digit", "latest")


def test_root_without_datasets_says_what_to_do(root):
    with pytest.raises(DatasetError, match=r"ingest\.py"):
        catalog.find(root, "digits", "latest")


def test_missing_version_is_named_with_those_that_there_are(root):
    publish(root, "digits", "aaa")
    publish(root, "digits", "bbb")
    with pytest.raises(DatasetError, match=r"no version 'ccc'; it has aaa, bbb"):
        catalog.find(root, "digits", "ccc")


def test_root_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DatasetError, match=r"dataset\.root '.*file/datasets'"),
        catalog.staging(str(tmp_path / "file/datasets"), "digits"),
    ):
        pass


def test_latest_that_was_removed_is_the_newest_left(root, capsys):
    for version in ("aaa", "bbb"):
        publish(root, "digits", version)
    catalog.find(root, "digits", "bbb").rename(Path(root) / "elsewhere")
    assert catalog.find(root, "digits", "latest").name == "aaa"
    assert "the latest version of 'digits', bbb, was removed; using the newest left: aaa" in capsys.readouterr().err


def test_pointer_that_is_right_is_not_written_again(root):
    path = publish(root, "digits", "aaa")
    before = os.stat(path.parent / "LATEST")
    catalog.set_latest(path)
    assert os.stat(path.parent / "LATEST").st_ino == before.st_ino


def test_folder_with_the_versions_name_is_not_overwritten(root):
    blocked = Path(root, "digits", "aaa")
    blocked.mkdir(parents=True)
    (blocked / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"aaa has no manifest\.json, so it is not a version; remove it"):
        publish(root, "digits", "aaa")
    assert files_below(root) == ["digits/aaa/notes.txt"]


def test_writers_of_different_versions_leave_all_of_them_and_the_last_as_latest(root):
    barrier = threading.Barrier(8)

    def write(version):
        with catalog.staging(root, "digits") as staged:
            (staged / NAME).write_text("{}")
            barrier.wait()
            catalog.publish(staged, version)

    threads = [threading.Thread(target=write, args=(f"v{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folders = {
        version: Path(root, "digits", version).stat().st_ctime_ns for version in catalog.versions(root, "digits")
    }
    assert len(folders) == 8
    assert catalog.find(root, "digits", "latest").name in [v for v, t in folders.items() if t == max(folders.values())]
