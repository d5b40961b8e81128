"""``convoy datasets``: text for people, one JSON line for scripts, and an exit status."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from jobs import datasets
from tests.dataset.versions import samples, write_version


@pytest.fixture
def root(tmp_path):
    write_version(tmp_path, "aaa", [*samples(7), *samples(3, "test")], quarantined=2)
    write_version(tmp_path, "bbb", [*samples(9), *samples(3, "test")])
    return tmp_path


@pytest.fixture
def command(root, capsys):
    def run(name, *arguments):
        """Returns (exit status, the JSON line or None, what people read)."""
        status = datasets.main([name, *arguments, "--root", str(root)])
        captured = capsys.readouterr()
        return status, json.loads(captured.out.splitlines()[-1]) if captured.out else None, captured.err

    return run


def test_list_shows_every_version_and_which_is_latest(command, root):
    write_version(root, "ccc", samples(4), name="plants")
    status, result, text = command("list")
    assert status == 0
    assert (result["job"], result["command"]) == ("datasets", "list")
    assert [(v["dataset"], v["version"], v["latest"]) for v in result["versions"]] == [
        ("animals", "aaa", False),
        ("animals", "bbb", True),
        ("plants", "ccc", True),
    ]
    assert result["versions"][0]["rows"] == {"train": 7, "test": 3}
    assert result["versions"][0]["quarantined"] == 2
    lines = text.splitlines()
    assert lines[2].split()[:9] == ["animals", "aaa", "2026-01-01T00:00:00+00:00", "7", "train,", "3", "test", "2", "2"]
    assert lines[3].split()[:3] == ["animals", "bbb", "*"]
    assert len(command("list", "--name", "plants")[1]["versions"]) == 1


def test_list_survives_a_damaged_manifest(command, root):
    (root / "animals" / "aaa" / "manifest.json").write_text("{")
    status, result, text = command("list")
    assert status == 0
    problems = {version["version"]: version.get("problem") for version in result["versions"]}
    assert "manifest.json cannot be read" in problems["aaa"]
    assert problems["bbb"] is None
    assert "manifest.json cannot be read" in text


def test_show_summarises_the_latest_or_a_given_version(command):
    status, result, text = command("show")
    assert (status, result["version"], result["rows"]) == (0, "bbb", {"train": 9, "test": 3})
    assert "images       2x3x1 (stretch), codec raw" in text
    assert ["cat", "5", "2"] in [line.split() for line in text.splitlines()]
    assert command("show", "--version", "aaa")[1]["version"] == "aaa"


def test_diff_counts_what_changed(command):
    status, result, text = command("diff", "aaa", "latest")
    assert (status, result["before"], result["after"]) == (0, "aaa", "bbb")
    assert (result["added"], result["removed"], result["unchanged"]) == (2, 0, 10)
    assert ["added", "2"] in [line.split() for line in text.splitlines()]


def test_verify_tells_by_its_exit_status(command, root):
    status, result, text = command("verify")
    assert (status, result["verified"], result["problems"]) == (0, 2, [])
    part = root / "animals" / "aaa" / "train" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    status, result, text = command("verify")
    assert status == 1
    (problem,) = result["problems"]
    assert problem.startswith("animals aaa: train/part-00000.parquet: SHA-256")
    assert "animals bbb: no problems" in text
    assert command("verify", "--version", "latest")[0] == 0
    assert command("verify", "--name", "animals", "--version", "aaa")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "--name", "animal"], "did you mean 'animals'?"),
        (["verify", "--name", "animal"], "did you mean 'animals'?"),
        (["show", "--version", "ccc"], "no version 'ccc'; it has aaa, bbb"),
        (["diff", "aaa"], "after"),
        (["lsit"], "lsit"),
        (["list", "--nam", "animals"], "--nam"),
    ],
)
def test_what_is_wrong_is_one_line(command, arguments, said):
    status, result, text = command(*arguments)
    assert (status, result) == (2, None)
    (line,) = text.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_several_datasets_have_to_be_told_apart(command, root):
    write_version(root, "ccc", samples(4), name="plants")
    status, _, text = command("show")
    assert status == 2
    assert "holds animals, plants; say which with --name" in text


def test_empty_root_says_what_to_do(command, root):
    shutil.rmtree(root / "animals")
    status, _, text = command("verify")
    assert status == 2
    assert "there are no datasets under" in text
    assert "jobs/ingest.py" in text


@pytest.mark.long
@pytest.mark.spark
def test_ingest_on_a_full_disk_is_one_line_and_leaves_nothing(spark, tmp_path, capsys):
    from jobs import ingest

    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        config = Path(__file__).resolve().parents[2] / "conf" / "digits.yaml"
        status = ingest.main(["--config", str(config), "--dataset.root", f"{mount}/datasets"])
        captured = capsys.readouterr()
        (error,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
        assert (status, captured.out) == (2, "")
        assert f"the disk at {mount} (" in error
        assert "is full" in error
        assert f"'{mount}/datasets'" in error
        assert "Traceback" not in captured.err
        assert list((mount / "datasets" / "digits").iterdir()) == []
    finally:
        subprocess.run(["umount", mount], check=True)
