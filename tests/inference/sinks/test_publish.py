"""A folder is replaced, or added to, in one step: whatever is killed when, and whoever reads meanwhile."""

import os
import signal

import pytest

from convoy.inference.sinks import publish

OLD = {"part-1.parquet": "old", ".part-1.parquet.crc": "sum", "_SUCCESS": ""}
ADDED = {"part-2.parquet": "new", "_SUCCESS": ""}


@pytest.fixture(autouse=True)
def no_grace(monkeypatch):
    monkeypatch.setattr(publish, "_GRACE_SECONDS", 0.0)


@pytest.fixture
def target(tmp_path):
    """A result in a folder whose name has signs that patterns have."""
    return fill(tmp_path / "sc[1]*", OLD)


def fill(folder, files):
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def beside(target):
    return [path.name for path in target.parent.iterdir() if path != target]


def run(target, files=ADDED, keep=True, **options):
    with publish.draft(target) as new:
        return publish.publish(fill(new, files), target, keep=keep, **options)


def killed_at(step, work):
    """Run in a process that kills itself before or after a call that changes the disk; False if it came to its end."""
    pid = os.fork()
    if not pid:
        count = 0

        def tick():
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

        def ticking(function):
            def call(*arguments, **options):
                tick()
                result = function(*arguments, **options)
                tick()
                return result

            return call

        for name in ("link", "rename", "mkdir", "unlink", "rmdir", "fsync"):
            setattr(os, name, ticking(getattr(os, name)))
        publish._exchange = ticking(publish._exchange)
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.mark.long
@pytest.mark.parametrize(
    ("one_step", "keep"),
    [
        pytest.param(True, True, id="exchange, added"),
        pytest.param(False, False, id="two renames, replaced"),
        pytest.param(True, False, id="exchange, replaced", marks=pytest.mark.long),
        pytest.param(False, True, id="two renames, added", marks=pytest.mark.long),
    ],
)
def test_a_writer_killed_at_any_step_leaves_the_old_or_the_new(tmp_path, monkeypatch, one_step, keep):
    if not one_step:
        monkeypatch.setattr(publish, "_exchange", lambda first, second: False)
    after = {**OLD, **ADDED} if keep else ADDED
    seen = []
    step = 1
    while True:
        target = fill(tmp_path / f"scores-{step}", OLD)
        if not killed_at(step, lambda: run(target, keep=keep)):  # noqa: B023 - it is called at once
            break
        if one_step:
            assert target.exists()
        publish.recover(target)
        found = contents(target)
        assert found in (OLD, after), step
        seen.append(found == after)
        with publish.draft(target):  # the next writer
            assert len([name for name in beside(target) if name.startswith(f".{target.name}-draft-")]) == 1
        assert contents(target) == found
        step += 1
    assert contents(target) == after
    assert seen == sorted(seen)  # the old before some step, the new after it
    assert set(seen) == {False, True}
    assert [name for name in beside(target) if name.startswith(".")] == []


def test_what_a_living_writer_has_is_left_alone(target):
    with publish.draft(target) as new:
        fill(new, ADDED)
        run(target, {"part-3.parquet": "third"})
        assert publish.publish(new, target, keep=True)
    assert contents(target) == {**OLD, **ADDED, "part-3.parquet": "third"}
    assert beside(target) == []


def test_files_that_somebody_else_has_changed(target):
    known = publish.names(target)
    assert run(target, {"part-3.parquet": "third"}, expected=known)
    assert not run(target, expected=known)
    assert contents(target) == {**OLD, "part-3.parquet": "third"}
    assert beside(target) == []


def test_of_two_files_with_a_name_the_new_one_stays(target):
    run(target, {"_stream.json": "1", "part-2.parquet": "a"})
    run(target, {"_stream.json": "2", "part-3.parquet": "b"})
    assert contents(target) == {**OLD, "_stream.json": "2", "part-2.parquet": "a", "part-3.parquet": "b"}


def test_a_file_system_without_links(target, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    run(target)
    assert contents(target) == {**OLD, **ADDED}


def test_a_target_that_is_not_there_yet_or_is_empty(tmp_path):
    run(tmp_path / "below" / "new")
    (tmp_path / "empty").mkdir()
    run(tmp_path / "empty")
    for target in (tmp_path / "below" / "new", tmp_path / "empty"):
        assert contents(target) == ADDED


def test_readers_see_all_files_of_a_run_or_none(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "_GRACE_SECONDS", 0.1)
    target = fill(tmp_path / "scores", {f"0-{i}": "" for i in range(50)})
    report, end = os.pipe()
    pid = os.fork()
    if not pid:
        seen = set()
        while not (tmp_path / "done").exists():
            seen.add(len(os.listdir(target)))
        os.write(end, " ".join(map(str, sorted(seen))).encode())
        os._exit(0)
    try:
        for n in range(1, 11):
            run(target, {f"{n}-{i}": "" for i in range(50)})
    finally:
        (tmp_path / "done").touch()
        os.waitpid(pid, 0)
    counts = [int(count) for count in os.read(report, 10_000).split()]
    os.close(report)
    os.close(end)
    assert set(counts) <= {50 * n for n in range(1, 12)}
    assert len(counts) > 3
