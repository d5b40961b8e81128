"""docs/storage.md: its commands, one after the other, on a real S3 server."""

import http.client
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from convoy.dataset.storage.object_path import ObjectPath
from tests.spark_support import write_images

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "storage.md").read_text()
QUICK = {
    "train": ["--training.epochs", "2", "--tracking.report", "false"],
    "ingest": ["--spark.master", "local[2]"],
}


def commands():
    blocks = re.findall(r"```shell\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("convoy ")]


def test_the_page_has_the_commands_that_are_run():
    assert [words[0] for words in commands()] == ["ingest", "train", "score", "datasets", "ingest", "ingest"]


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.spark
def test_the_commands_of_the_page(s3_server, s3, tmp_path):
    connection = http.client.HTTPConnection("127.0.0.1", s3_server, timeout=60)
    connection.request("PUT", "/my-bucket")
    assert connection.getresponse().status == 200
    bucket = ObjectPath("s3://my-bucket")
    write_images(tmp_path / "images", {"cat": 20, "dog": 20})
    rows = ["path,label"]
    for path in sorted((tmp_path / "images").rglob("*.png")):
        name = path.relative_to(tmp_path / "images").as_posix()
        (bucket / "images" / name).upload(path)
        rows.append(f"{name},{path.parent.name}")
    (bucket / "images" / "labels.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "conf").symlink_to(ROOT / "conf")

    def run(words, *further):
        done = subprocess.run(
            [sys.executable, "-m", "convoy", *words, *QUICK.get(words[0], []), *further],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            capture_output=True,
            text=True,
            timeout=1200,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    results = [run(words) for words in commands()]
    assert results[3]["problems"] == []
    version = results[0]["version"]
    assert (bucket / "datasets" / "digits" / version / "manifest.json").is_file()
    steps = [path.parent.name for path, _ in (bucket / "checkpoints").files() if path.name == "state.json"]
    assert len(steps) >= 2
    python = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert python is not None
    found: dict[str, object] = {}
    exec(python[1], found)
    scores = found["scores"]
    assert len(scores) == results[0]["rows"]["test"]
    assert scores["error"].isna().all()
    run(commands()[1], "--training.resume", results[1]["run_id"], "--training.epochs", "3")
    newest = max(path.parent.name for path, _ in (bucket / "checkpoints").files() if path.name == "state.json")
    assert newest > max(steps)
    listed, pets = results[5], results[4]
    assert listed["rows"] == pets["rows"]
    assert not (tmp_path / "s3:").exists()
