"""``jobs/score.py`` is killed around the moment in which its rows become visible; the next run makes it right."""

import importlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import encoded, noise

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.spark, pytest.mark.long]

# The process kills itself at its n-th publication: when all is scored and nothing visible, or when all is visible and
# nobody knows of it.
SCRIPT = """
import os, signal, sys
from convoy.inference.sinks import folder, publish, stream
from jobs import score

when, number, *arguments = sys.argv[1:]
stream.FILES_PER_BATCH = 2
calls = 0
real = publish.publish

def killed(*given, **options):
    global calls
    calls += 1
    if when == "before" and calls == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    done = real(*given, **options)
    if when == "after" and calls == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return done

publish.publish = killed
score.main(arguments)
"""


@pytest.fixture
def job(spark, animals, tmp_path, capsys):
    """Run the job, in this process or in one that is killed; the first gives its JSON line."""
    (tmp_path / "images").mkdir()
    for i in range(6):
        (tmp_path / "images" / f"{i}.png").write_bytes(encoded(noise(8, 6, 3, seed=i)))
    common = ["--config", str(ROOT / "conf" / "digits.yaml"), "--tracking.uri", animals.store]
    common += ["--scoring.model", animals.uri, "--scoring.input", str(tmp_path / "images")]
    common += ["--scoring.output", str(tmp_path / "results" / "scores"), "--spark.master", "local[1]"]

    def run(*options: str, killed: tuple[str, int] | None = None) -> dict:
        if killed is None:
            capsys.readouterr()
            assert importlib.import_module("jobs.score").main([*common, *options]) == 0
            return json.loads(capsys.readouterr().out)
        when, number = killed
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
        command = [sys.executable, "-c", SCRIPT, when, str(number), *common, *options]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200)
        assert done.returncode == -signal.SIGKILL, done.stderr
        return {}

    return run


def paths(folder) -> Counter:
    return Counter(Path(row["path"]).name for row in pq.read_table(folder).to_pylist())


def state(folder) -> dict:
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


ALL = {f"{i}.png": 1 for i in range(6)}


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=pytest.mark.long)])
def test_the_old_result_is_intact_and_the_next_run_right(job, tmp_path, when):
    results = tmp_path / "results"
    assert job("--scoring.mode", "incremental")["rows"] == 6
    old = state(results / "scores")
    (tmp_path / "images" / "6.png").write_bytes(encoded(noise(8, 6, 3, seed=6)))
    job("--scoring.mode", "incremental", killed=(when, 1))
    assert (state(results / "scores") == old) == (when == "before")
    assert job("--scoring.mode", "incremental")["rows"] == (1 if when == "before" else 0)
    assert paths(results / "scores") == {**ALL, "6.png": 1}
    assert [path.name for path in results.iterdir()] == ["scores"]


@pytest.mark.long
def test_a_stream_killed_when_its_second_batch_was_published(job, tmp_path):
    results = tmp_path / "results"
    job("--scoring.stream", "true", killed=("after", 2))
    assert sum(paths(results / "scores").values()) == 4
    assert job("--scoring.stream", "true")["rows"] == 2
    assert paths(results / "scores") == ALL
    assert job("--scoring.stream", "true")["rows"] == 0
    assert sorted(path.name for path in results.iterdir()) == ["scores", "scores.checkpoint"]
