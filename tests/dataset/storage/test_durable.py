"""Writers that are killed, other machines' leftovers, full disks: readers see whole versions only."""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from convoy.dataset.storage import catalog, durable
from convoy.dataset.storage.manifest import NAME
from convoy.errors import DatasetError


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "datasets")


def publish(root, name, version, content="{}"):
    with catalog.staging(root, name) as staged:
        (staged / NAME).write_text(content)
        return catalog.publish(staged, version)


@contextlib.contextmanager
def child(function, *arguments):
    """A process that runs the function; killed with SIGKILL at the end of the block."""
    pid = os.fork()
    if not pid:
        try:
            function(*arguments)
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def wait_for(found, seconds=120):
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return value


def hidden(root):
    return sorted(path.name for path in Path(root, "digits").glob(".*"))


def hold_staging(root):
    """Stage, write a little, and sleep for ever."""
    with catalog.staging(root, "digits") as staged:
        (staged / "part-00000.parquet").write_text("half")
        time.sleep(1000)


def write_forever(root, writer, shared):
    """Publish one version after the other: files, then a manifest with their checksums."""
    for number in range(len(catalog.versions(root, "digits")), 1000):
        version = f"v{number}" if shared else f"{writer}-{number}"
        with catalog.staging(root, "digits") as staged:
            sums = {}
            for part in range(4):
                content = f"{version} {part}".encode() * 2000
                (staged / f"part-{part}").write_bytes(content)
                sums[f"part-{part}"] = hashlib.sha256(content).hexdigest()
            (staged / NAME).write_text(json.dumps(sums))
            catalog.publish(staged, version)


def assert_whole(path):
    sums = json.loads((path / NAME).read_text())
    assert {file: hashlib.sha256((path / file).read_bytes()).hexdigest() for file in sums} == sums
    assert sorted(os.listdir(path)) == sorted([NAME, *sums])


def files_below(folder):
    return sorted(os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names)


@pytest.mark.parametrize("clean", ["staging", "set_latest"])
def test_what_a_killed_writer_left_is_removed_but_not_what_a_living_one_writes(root, clean):
    path = publish(root, "digits", "aaa")

    def clean_up():
        if clean == "set_latest":
            catalog.set_latest(path)
        else:
            publish(root, "digits", "bbb")

    with child(hold_staging, root):
        (living,) = wait_for(lambda: hidden(root))
        wait_for(lambda: files_below(f"{root}/digits/{living}"))
        clean_up()
        assert hidden(root) == [living]
        assert files_below(f"{root}/digits/{living}") == ["part-00000.parquet"]
    assert hidden(root) == [living]
    clean_up()
    assert hidden(root) == []


@pytest.mark.parametrize("prefix", [".staging-", ".LATEST-"])
def test_leftovers_of_another_machine_go_by_age(root, prefix):
    path = publish(root, "digits", "aaa")
    left = path.parent / f"{prefix}0badcafe-0123456789ab"
    if prefix == ".staging-":
        left.mkdir()
        inner = left / "part-00000.parquet"
        inner.write_text("half")
        old = time.time() - durable.ABANDONED_SECONDS - 60
        os.utime(left, (old, old))  # the folder is old, the file in it is new: somebody writes
    else:
        left.write_text("aaa")
        inner = left
    catalog.set_latest(path)
    assert left.exists()
    for each in (inner, left):
        os.utime(each, (old := time.time() - durable.ABANDONED_SECONDS - 60, old))
    catalog.set_latest(path)
    assert hidden(root) == []


def test_interrupted_removal_is_finished_by_the_next_run(root):
    path = publish(root, "digits", "aaa")
    (path.parent / ".trash-0badcafe-0123456789ab" / "train").mkdir(parents=True)
    catalog.set_latest(path)
    assert hidden(root) == []


def test_task_that_outlives_its_driver_cannot_write_on(root):
    with catalog.staging(root, "digits") as staged:
        pass
    with pytest.raises(FileNotFoundError):
        (staged / "part-00000.parquet").write_text("late")


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.parametrize("shared", [False, True], ids=["different versions", "the same versions"])
def test_writers_killed_at_any_moment_leave_only_whole_versions(root, shared):
    moments, started = random.Random(7), time.monotonic()
    with child(write_forever, root, "first", shared):
        wait_for(lambda: len(catalog.versions(root, "digits")) >= 3)
    usual = min(0.5, (time.monotonic() - started) / 3)  # of one version, on this machine, now
    seen = set()
    for number in range(30):
        with contextlib.ExitStack() as stack:
            for writer in range(2):
                stack.enter_context(child(write_forever, root, f"{number}-{writer}", shared))
            time.sleep(moments.uniform(0, 3 * usual))
        for version in set(catalog.versions(root, "digits")) - seen:
            assert_whole(catalog.find(root, "digits", version))
            seen.add(version)
    for version in catalog.versions(root, "digits"):
        assert_whole(catalog.find(root, "digits", version))
    assert len(catalog.versions(root, "digits")) > 3  # some were not killed too soon
    assert catalog.find(root, "digits", "latest").name in catalog.versions(root, "digits")
    publish(root, "digits", "last")
    assert hidden(root) == []
    assert catalog.find(root, "digits", "latest").name == "last"


def test_reader_always_finds_a_whole_version_while_writers_publish(root):
    publish(root, "digits", "first")
    with child(write_forever, root, "a", False), child(write_forever, root, "b", False):
        seen = set()
        while len(seen) < 20:
            path = catalog.find(root, "digits", "latest")
            assert_whole(path)
            seen.add(path)


def test_everything_is_on_the_disk_before_it_is_visible(root, monkeypatch):
    synced, real_sync, real_rename, before = set(), os.fsync, os.rename, []
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.add(os.fstat(fd).st_ino), real_sync(fd)))

    def rename(source, target):
        inodes = {os.stat(at).st_ino for at, _, _ in os.walk(source)}
        inodes |= {os.stat(os.path.join(at, name)).st_ino for at, _, names in os.walk(source) for name in names}
        before.append(inodes <= synced)
        real_rename(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with catalog.staging(root, "digits") as staged:
        (staged / "train").mkdir()
        (staged / "train" / "part-00000.parquet").write_text("pixels")
        (staged / NAME).write_text("{}")
        target = catalog.publish(staged, "aaa")
    assert before[0]
    assert {target.parent.stat().st_ino, (target.parent / "LATEST").stat().st_ino} <= synced


def test_full_disk_is_named(root):
    publish(root, "digits", "aaa")
    with (
        pytest.raises(
            DatasetError, match=r"the disk at /\S* \(.* MiB free\) is full: .*digits.* dataset\.root .*datasets"
        ),
        catalog.staging(root, "digits"),
        open("/dev/full", "w") as file,
    ):
        file.write("pixels")
    assert files_below(root) == sorted(["digits/LATEST", f"digits/aaa/{NAME}"])


def test_sparks_scratch_disk_is_not_taken_for_the_root(root):
    with pytest.raises(DatasetError, match=r"scratch disk .*spark\.local\.dir"), catalog.staging(root, "digits"):
        raise RuntimeError("Job aborted: java.io.IOException: No space left on device")


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 256 KiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", mount]).returncode:
        pytest.skip("mounting is not permitted here")
    yield mount
    subprocess.run(["umount", mount], check=True)


def test_full_disk_leaves_the_old_version_and_no_rest(small_disk):
    root = str(small_disk / "datasets")
    publish(root, "digits", "aaa")

    def fill():
        with catalog.staging(root, "digits") as staged:
            (staged / NAME).write_text("{}")
            for part in range(100):
                (staged / f"part-{part}").write_bytes(bytes(10_000))
            catalog.publish(staged, "bbb")

    with pytest.raises(DatasetError, match=rf"the disk at {small_disk} \(0\.0 of 0\.2 MiB free\) is full"):
        fill()
    assert files_below(root) == sorted(["digits/LATEST", f"digits/aaa/{NAME}"])
    assert catalog.find(root, "digits", "latest").name == "aaa"
    publish(root, "digits", "ccc")


def test_version_does_not_appear_where_its_pointer_has_no_room(small_disk):
    root = str(small_disk / "datasets")
    publish(root, "digits", "aaa")

    def fill():
        with catalog.staging(root, "digits") as staged:
            (staged / NAME).write_text("{}")
            with open(staged / "part-0", "wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    pass
            catalog.publish(staged, "bbb")

    with pytest.raises(DatasetError, match="is full"):
        fill()
    assert catalog.versions(root, "digits") == ["aaa"]
    assert hidden(root) == []
