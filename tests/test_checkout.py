"""What is in the repository."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_links_stay_inside():
    listed = subprocess.run(["git", "ls-files", "-s"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no checkout of git's")
    links = [line.split("\t")[1] for line in listed.stdout.splitlines() if line.startswith("120000")]
    assert links, "src/convoy/constraints.txt is one"
    for link in links:
        assert not (ROOT / link).readlink().is_absolute(), link
        assert (ROOT / link).resolve(strict=True).is_relative_to(ROOT), link
