"""Sessions of Spark Connect: the same results as on classic ones, with a real server."""

import importlib.util
import json
import subprocess
import sys

import pyspark
import pytest
from packaging.version import Version

from convoy.cluster.connect import FIRST
from tests.connect import ways
from tests.connect.server import ROOT, connect_server, environment, other_pyspark
from tests.inference.packages import CLASSES
from tests.logged import connect, log_images
from tests.spark_support import write_images

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(Version(pyspark.__version__) < FIRST, reason="PySpark has the server since 4.0"),
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("grpc", "grpc_status", "zstandard"))),
        reason="Spark Connect needs grpcio, grpcio-status, googleapis-common-protos and zstandard",
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with connect_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def folder(tmp_path):
    """Images of five classes, one of them broken, and a model of these classes."""
    write_images(tmp_path / "images", dict.fromkeys(CLASSES, 8), (9, 7, 3))
    for path in (tmp_path / "images").glob("*/0-*.png"):
        path.rename(path.with_name(path.name.removeprefix("0-")))
    (tmp_path / "images" / "cat" / "broken.png").write_bytes(b"no image")
    log_images(connect(tmp_path))
    return tmp_path


def on(address, name, folder, pyspark=None, **variables):
    """Call one of ``ways`` in a process of its own, on a session of Spark Connect; further arguments are variables."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.connect.ways", name, str(folder)],
        capture_output=True, text=True, timeout=900, cwd=folder,
        env=environment(pyspark, SPARK_REMOTE=address, **variables),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def same(own, other):
    """Compare results as JSON: they are equal, probabilities too."""
    own, other = (json.loads(json.dumps(result)) for result in (own, other))
    assert own.keys() == other.keys()
    for name, value in own.items():
        assert value == other[name], name


@pytest.mark.e2e
def test_results_are_those_of_a_classic_session(spark, server, folder):
    remote = on(server, "everything", folder)
    assert len(remote["scores"]) == 41
    assert remote["drift"]["height"]["rows"] == 40
    same(remote, ways.everything(spark, folder))


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.parametrize("name", ["sources", "sinks"])
def test_all_sources_and_sinks(spark, server, folder, tmp_path_factory, name):
    remote = on(server, name, folder)
    same(remote, getattr(ways, name)(spark, folder))


@pytest.mark.e2e
@pytest.mark.long
def test_what_needs_a_classic_session_is_refused_in_one_line(server, folder):
    said = on(server, "refusals", folder)
    assert said.pop("epochs") == 1
    for name in ("ranks", "pipeline"):
        assert said[name].startswith("training.num_workers is 2, and this is a session of Spark Connect")
        assert "set it to 0" in said[name]
    assert "delta" in said["table"]
    assert not any("\n" in line for line in said.values())


@pytest.mark.e2e
@pytest.mark.long
def test_a_client_without_a_jvm(server, folder):
    """The package ``pyspark-client``; this variable makes the whole one behave like it."""
    assert on(server, "everything", folder, SPARK_SKIP_CONNECT_COMPAT_TESTS="1")["rows"]["train"] > 0


@pytest.fixture(scope="module")
def older():
    """A folder with an older PySpark."""
    if Version(pyspark.__version__) < Version("4.2"):
        pytest.skip("the installed PySpark is not newer than 4.1")
    folder = other_pyspark("4.1")
    if folder is None:
        pytest.skip("PySpark 4.1 cannot be installed here: it needs uv beside Python, and a package index")
    return folder


@pytest.mark.e2e
@pytest.mark.long
def test_a_server_of_an_older_spark_is_refused(older, folder, tmp_path):
    with connect_server(tmp_path, older) as address:
        done = job("ingest", folder, "--source.kind", "digits", SPARK_REMOTE=address)
    assert done.returncode == 2, done.stderr
    said = (
        f"error: the server of Spark Connect is Spark 4.1.0, and this client is PySpark {pyspark.__version__}; expected"
    )
    assert done.stderr.splitlines()[-1].startswith(said)


@pytest.mark.e2e
@pytest.mark.long
def test_a_client_of_an_older_spark_is_warned_and_works(older, server, folder):
    assert on(server, "everything", folder, pyspark=older)["rows"]["train"] > 0


LENIENT = ("--dataset.max_bad_fraction", "0.1")


def job(name, folder, *arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", f"jobs.{name}", *arguments],
        capture_output=True, text=True, timeout=900, cwd=folder, env=environment(**variables),
    )  # fmt: skip


@pytest.mark.e2e
@pytest.mark.long
def test_jobs_use_the_server_that_spark_remote_names(server, folder):
    source = ("--source.kind", "folder", "--source.path", str(folder / "images"), "--dataset.name", "animals", *LENIENT)
    done = job("ingest", folder, *source, SPARK_REMOTE=server)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"]["train"] > 0
    done = job("doctor", folder, "--training.num_workers", "0", SPARK_REMOTE=server)
    assert f"Spark Connect {pyspark.__version__}" in done.stderr + done.stdout
    done = job("train", folder, "--dataset.name", "animals", "--dataset.image.channels", "3", SPARK_REMOTE=server)
    assert done.returncode == 2
    assert "training.num_workers is 2, and this is a session of Spark Connect" in done.stderr.splitlines()[-1]


@pytest.mark.e2e
@pytest.mark.long
def test_a_server_in_this_process(folder):
    """``SPARK_REMOTE=local[2]``, and the API mode, start one."""
    source = ("--source.kind", "folder", "--source.path", str(folder / "images"), "--dataset.name", "animals", *LENIENT)
    ids = set()
    for more in ({"SPARK_REMOTE": "local[2]"}, {"SPARK_API_MODE": "connect"}):
        done = job("ingest", folder, *source, "--spark.master", "local[2]", SPARK_TESTING="1", **more)
        assert done.returncode == 0, done.stderr
        ids.add(json.loads(done.stdout)["version"])
    assert len(ids) == 1


@pytest.mark.e2e
@pytest.mark.long
def test_workers_without_convoy_get_it_as_an_artifact(folder, tmp_path):
    """Their Python has the packages, and not Convoy."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import os, sys\n"
        "sys.path[:] = [path for path in sys.path if not os.path.isdir(os.path.join(path, 'convoy'))]\n"
        "sys.meta_path[:] = [each for each in sys.meta_path if 'editable' not in str(each)]\n"
    )
    program = hidden / "python3"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{hidden}:$PYTHONPATH" exec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    with connect_server(tmp_path, PYSPARK_PYTHON=str(program)) as address:
        done = subprocess.run(
            [sys.executable, "-c", ARTIFACT, str(ROOT / "src"), str(folder)],
            capture_output=True, text=True, timeout=600, cwd=folder, env=environment(SPARK_REMOTE=address),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refused, scored = done.stdout.splitlines()
    assert "have no convoy; install it in their environment, or spark.addArtifacts(" in refused
    assert scored == "41"


ARTIFACT = """
import shutil, sys
import convoy
from convoy.errors import ClusterError
from pyspark.sql import SparkSession
import os
spark = SparkSession.builder.remote(os.environ["SPARK_REMOTE"]).getOrCreate()
source, folder = sys.argv[1:]
convoy_zip = shutil.make_archive("convoy", "zip", source)
from tests.connect.ways import MODEL, config_in
from convoy.tracking.connection import connect
connect(f"sqlite:///{folder}/mlflow.db")
paths = spark.read.format("binaryFile").load(f"{folder}/images/*/*.png").select("path", "content")
try:
    convoy.score_images(paths, MODEL)
except ClusterError as error:
    print(error)
spark.addArtifacts(convoy_zip, pyfile=True)
print(convoy.score_images(paths, MODEL).count())
"""
