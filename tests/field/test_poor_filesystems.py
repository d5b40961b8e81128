"""File systems without renames, links or locks: a real one for any process, by a library that refuses the calls."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from convoy.config import Config, ScoringConfig
from convoy.dataset.storage.filesystem import missing_operations
from convoy.doctor.checks import check_file_systems
from tests.spark_support import write_images

SOURCE = Path(__file__).parent / "inputs" / "poor_filesystem.c"
KINDS = {
    "all": "files,folders,open,links,locks",
    "folders": "folders,open",
    "open": "open",
    "locks": "open,locks",
    "links": "links",
    "random": "random",
    "volumes": "folders,open,links,locks,random",
}
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    target = tmp_path_factory.mktemp("poor") / "poor.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(target), str(SOURCE), "-ldl"], check=True)
    return target


@pytest.fixture
def run(library, tmp_path):
    """Runs a program on a file system that lacks some operations below ``tmp_path/poor``; returns what it printed."""
    (tmp_path / "poor").mkdir()

    def call(lacks, *arguments, status=0):
        poor = {"POOR_FOLDER": str(tmp_path / "poor"), "POOR_LACKS": KINDS[lacks], "LD_PRELOAD": str(library)}
        found = subprocess.run(
            [sys.executable, *arguments], env={**os.environ, **poor}, cwd=tmp_path, capture_output=True, text=True
        )
        assert status in (None, found.returncode), found.stderr
        return found.stdout + found.stderr

    return call


def script(body, *arguments):
    return ("-c", "import sys\nfrom pathlib import Path\n" + body, *map(str, arguments))


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


PROBE = """
import json
from convoy.dataset.storage.filesystem import missing_operations
print(json.dumps(missing_operations(Path(sys.argv[1]))))
"""


@pytest.mark.parametrize(
    ("lacks", "missing"),
    [
        (
            "all",
            ["renames of files", "renames of folders", "renames of open folders", "hard links", "locks"],
        ),
        ("folders", ["renames of folders", "renames of open folders"]),
        ("open", ["renames of open folders"]),
        ("links", ["hard links"]),
        ("random", ["writes before the end of a file"]),
    ],
)
def test_what_is_missing_is_found_and_nothing_is_left(run, tmp_path, lacks, missing):
    assert json.loads(run(lacks, *script(PROBE, tmp_path / "poor" / "not" / "yet"))) == missing
    assert missing_operations(tmp_path / "poor") == ()
    assert os.listdir(tmp_path / "poor") == []


VERSION = """
from convoy.dataset.storage import catalog
def version(root, name, text):
    with catalog.staging(root, "images") as staged:
        (staged / "train").mkdir()
        (staged / "train" / "part.parquet").write_text(text)
        (staged / "manifest.json").write_text("{}")
        catalog.publish(staged, name)
version(sys.argv[1], "v1", "one")
version(sys.argv[1], "v2", "two")
version(sys.argv[1], "v2", "two")
print(catalog.find(sys.argv[1], "images", "latest").name, catalog.versions(sys.argv[1], "images"))
"""


@pytest.mark.parametrize("lacks", KINDS)
def test_a_version_is_published_whole_and_nothing_else_is_left(run, tmp_path, lacks):
    root = tmp_path / "poor" / "datasets"
    said = run(lacks, *script(VERSION, root))
    assert "v2 ['v1', 'v2']" in said
    assert ("published file by file" in said) == (lacks in ("all", "folders", "open", "volumes"))
    files = ["manifest.json", "train/part.parquet"]
    assert names(root) == ["images/LATEST", *(f"images/{version}/{file}" for version in ("v1", "v2") for file in files)]
    assert sorted(os.listdir(root / "images")) == ["LATEST", "v1", "v2"]


KILLED = """
import os
from convoy.dataset.storage import filesystem
count = 0
real = filesystem.move_file
def killed(source, target):
    global count
    count += 1
    real(source, target)
    if count == int(sys.argv[2]):
        os._exit(9)
filesystem.move_file = killed
"""


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_writer_that_is_killed_while_it_publishes_leaves_no_version_and_the_next_one_succeeds(run, tmp_path, step):
    root = tmp_path / "poor" / "datasets"
    files = '(staged / "{}").write_text("one")\n        '
    body = VERSION.replace(
        '(staged / "train").mkdir()', files.format("a") + files.format("b") + '(staged / "train").mkdir()'
    )
    run("all", *script(KILLED + body, root, step), status=9)
    home = root / "images"
    assert not (home / "v1" / "manifest.json").exists()
    run("all", *script(body, root))
    assert set(names(home / "v1")) == {"a", "b", "manifest.json", "train/part.parquet"}
    (home / "v3").mkdir()
    (home / "v3" / "file").touch()
    said = run("all", *script(body.replace('"v1"', '"v3"'), root), status=1)
    assert "has no manifest.json, so it is not a version; remove it" in said
    assert names(home / "v3") == ["file"]


CHECKPOINTS = """
import numpy as np
from convoy.training.checkpoint.store import Checkpoint, CheckpointStore
store = CheckpointStore(Path(sys.argv[1]), 2, print)
for step in (1, 2, 3, 3):
    store.save(Checkpoint(step, {"w": np.full(3, step)}, {"epoch": step}), best=step == 1)
print(store.latest().arrays["w"], store.best().step)
"""


@pytest.mark.parametrize("lacks", KINDS)
def test_checkpoints(run, tmp_path, lacks):
    folder = tmp_path / "poor" / "checkpoints"
    assert "[3 3 3] 1" in run(lacks, *script(CHECKPOINTS, folder))
    steps = [f"step-{step:09d}" for step in (1, 2, 3)]
    assert sorted(os.listdir(folder)) == ["BEST", *steps]
    assert names(folder) == ["BEST", *(f"{step}/{file}" for step in steps for file in ("arrays.npz", "state.json"))]


SCORES = """
from convoy.inference.sinks import publish
publish._GRACE_SECONDS = 0.0
target = Path(sys.argv[1])
for keep, name in ((False, "a"), (True, "b"), (False, "c"), (True, "d")):
    with publish.draft(target) as new:
        new.mkdir()
        (new / f"part-{name}.parquet").write_text(name)
        (new / "_SUCCESS").touch()
        assert publish.publish(new, target, keep=keep)
    print(sorted(publish.names(target)))
"""


@pytest.mark.parametrize("lacks", KINDS)
def test_scores_are_replaced_and_added_to(run, tmp_path, lacks):
    expected = [["a"], ["a", "b"], ["c"], ["c", "d"]]
    said = run(lacks, *script(SCORES, tmp_path / "poor" / "scores")).splitlines()
    assert said == [str(["_SUCCESS", *(f"part-{name}.parquet" for name in step)]) for step in expected]
    assert os.listdir(tmp_path / "poor") == ["scores"]
    assert (tmp_path / "poor" / "scores" / "part-d.parquet").read_text() == "d"


STREAM = """
from convoy.errors import ConfigError
from convoy.inference.sinks.stream import check_stream
try:
    check_stream(Path(sys.argv[1]))
except ConfigError as error:
    print(error)
"""


@pytest.mark.long
def test_a_stream_is_refused_where_a_batch_could_not_become_visible_in_one_step(run, tmp_path):
    said = run("folders", *script(STREAM, tmp_path / "poor" / "scores"))
    assert "without renames of folders, which scoring.stream needs; choose" in said
    assert run("links", *script(STREAM, tmp_path / "poor" / "scores")).strip() == ""


def test_the_doctor_names_what_is_missing_and_what_follows():
    missing: dict[str, tuple[str, ...]] = {
        "dataset.root": ("renames of folders", "locks"),
        "training.checkpoint.folder": (),
        "scoring.output": ("renames of files", "hard links"),
    }
    first, second = check_file_systems(missing, Config())
    assert first.level == second.level == "warning"
    assert "dataset.root is on a file system without renames of folders, locks: ingest publishes" in first.text
    assert "readers may see a part" in second.text
    stream = Config(scoring=ScoringConfig(stream=True))
    assert [finding.level for finding in check_file_systems(missing, stream)] == ["warning", "error"]


SCORE = """
sys.path.insert(0, sys.argv[3])
from convoy.cluster.spark import session
from convoy.config import Config, ScoringConfig, SparkConfig
from convoy.inference.sinks.write import check_output, score_to_output
from tests.inference.packages import package
with session("scores", SparkConfig(master="local[2]")) as spark:
    for mode in ("overwrite", "append", "incremental", "overwrite"):
        section = ScoringConfig(input=sys.argv[1], output=sys.argv[2], mode=mode)
        check_output(section)
        written = score_to_output(spark, Config(scoring=section), package())
        print(mode, written.rows, written.added.count(), spark.read.parquet(sys.argv[2]).count())
"""


@pytest.mark.e2e
@pytest.mark.long
def test_scores_are_published_on_such_a_file_system(run, tmp_path):
    write_images(tmp_path / "in", {"a": 3, "b": 3})
    root = Path(__file__).parents[2]
    said = run("all", *script(SCORE, tmp_path / "in", tmp_path / "poor" / "scores", root))
    assert "overwrite 6 6 6\nappend 6 6 12\nincremental 0 0 12\noverwrite 6 6 6\n" in said
    assert os.listdir(tmp_path / "poor") == ["scores"]


@pytest.mark.e2e
@pytest.mark.long
def test_jobs_on_such_a_file_system_end_as_elsewhere(run, tmp_path):
    write_images(tmp_path / "in", {"a": 20, "b": 20})
    root = ("--dataset.root", str(tmp_path / "poor" / "datasets"))
    jobs = Path(__file__).parents[2] / "jobs"
    source = ("--source.path", str(tmp_path / "in"), "--spark.master", "local[2]")
    run("all", str(jobs / "ingest.py"), *root, *source)
    elsewhere = ("--dataset.root", str(tmp_path / "elsewhere"))
    run("all", str(jobs / "ingest.py"), *elsewhere, *source)
    [version] = (tmp_path / "elsewhere" / "images").glob("[!L]*")
    for name in names(version):
        if name.endswith(".parquet"):
            assert (tmp_path / "poor" / "datasets" / "images" / version.name / name).read_bytes() == (
                version / name
            ).read_bytes()
    run("all", str(jobs / "datasets.py"), "verify", "--root", root[1])
    assert sorted(os.listdir(tmp_path / "poor" / "datasets" / "images")) == sorted(["LATEST", version.name])
    said = run("all", str(jobs / "doctor.py"), *root, status=None)
    assert "dataset.root is on a file system without renames of files, renames of folders" in said
    assert sorted(os.listdir(tmp_path / "poor")) == ["datasets"]
