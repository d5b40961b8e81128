"""Sessions that Convoy cannot use: one line before the job, which says what to do."""

import importlib
import importlib.util
import os
import subprocess
import sys

import pytest

from convoy.cluster.session_check import check_session, refuse_connect, worker_python_problem
from convoy.cluster.spark import session
from convoy.config import SparkConfig
from convoy.errors import ClusterError
from tests.field.inputs import sessions as inputs

ENVIRONMENTS = [
    ({"SPARK_REMOTE": "sc://host:15002"}, {}, "local[2]", "SPARK_REMOTE is 'sc://host:15002'"),
    ({"SPARK_API_MODE": "connect"}, {}, "local[2]", "SPARK_API_MODE is 'connect'"),
    ({}, {"spark.remote": "local"}, "local[2]", "spark.conf spark.remote is 'local'"),
    ({}, {"spark.api.mode": "connect"}, "local[2]", "spark.conf spark.api.mode"),
    ({}, {}, "sc://host", "spark.master is 'sc://host'"),
]


@pytest.mark.parametrize(("environment", "properties", "master", "named"), ENVIRONMENTS)
def test_a_setting_that_leads_to_spark_connect_is_named(environment, properties, master, named):
    with pytest.raises(ClusterError, match="Spark Connect is not supported yet") as refused:
        refuse_connect(properties, master, environment)
    assert str(refused.value).startswith(named)
    assert "\n" not in str(refused.value)


def test_a_classic_setting_is_not_refused():
    refuse_connect({"spark.api.mode": "classic"}, "spark://host:7077", {"SPARK_API_MODE": "classic"})


def test_a_job_ends_with_one_line_where_spark_remote_is_set(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARK_REMOTE", "sc://127.0.0.1:15002")
    assert importlib.import_module("jobs.ingest").main(["--source.kind", "digits"]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: SPARK_REMOTE is 'sc://127.0.0.1:15002'")


def test_the_python_of_this_environment_is_right():
    assert worker_python_problem(sys.executable) is None


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (inputs.python_without_packages, "which has no convoy, keras"),
        (inputs.python_that_does_not_run, "which does not run"),
    ],
)
def test_another_python_of_the_workers_is_named(tmp_path, kind, said):
    other = str(kind(tmp_path / "bin"))
    problem = worker_python_problem(other)
    assert said in problem
    for part in (repr(other), repr(sys.executable), f"PYSPARK_PYTHON={sys.executable}"):
        assert part in problem


def test_a_python_that_does_not_exist_is_named():
    assert "'/nowhere/python', which does not exist" in worker_python_problem("/nowhere/python")


def test_another_python_with_the_same_packages_is_not_refused(tmp_path):
    """As where a wrapper starts it, or PATH leads to it by another folder."""
    program = tmp_path / "python3"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    assert worker_python_problem(str(program)) is None


def test_a_wrong_pyspark_python_is_found_before_a_session_is_created(tmp_path, monkeypatch):
    monkeypatch.setenv("PYSPARK_PYTHON", str(inputs.python_without_packages(tmp_path / "bin")))
    monkeypatch.setattr("convoy.cluster.spark.SparkSession.getActiveSession", lambda: None)
    with pytest.raises(ClusterError, match="which has no convoy"), session("test", SparkConfig()):
        pass


@pytest.mark.spark
def test_a_session_whose_workers_have_convoy_is_not_refused(spark):
    check_session(spark)
    check_session(spark.range(1))


@pytest.mark.spark
def test_the_workers_python_of_an_existing_session_is_checked(spark, tmp_path, monkeypatch):
    monkeypatch.setattr(spark.sparkContext, "pythonExec", str(inputs.python_without_packages(tmp_path / "bin")))
    with pytest.raises(ClusterError, match="which has no convoy"), session("test", SparkConfig()):
        pass


def run(program, tmp_path, **environment):
    """Run a program of a user as a process of its own, and return its output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYSPARK_", "SPARK_"))}
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, "-c", inputs.JAVA + program],
        capture_output=True, text=True, timeout=300, cwd=tmp_path, env={**kept, "PYTHONPATH": path, **environment},
    )  # fmt: skip


@pytest.mark.e2e
@pytest.mark.long
def test_a_plain_script_without_an_activated_environment(tmp_path):
    inputs.python_without_packages(tmp_path / "bin")
    done = run(inputs.PLAIN, tmp_path, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("convoy.errors.ClusterError: Spark's Python workers run ")
    assert f"PYSPARK_PYTHON={sys.executable}" in last


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("grpc", "grpc_status", "zstandard"))),
    reason="Spark Connect needs grpcio, grpcio-status, googleapis-common-protos and zstandard",
)
def test_a_session_of_spark_connect_is_refused_on_every_way(tmp_path):
    done = run(inputs.CONNECT, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["score_images", "register_udf", "ingest", "active"]
    assert all("Spark Connect" in line and "classic Spark session" in line for line in lines)


@pytest.mark.parametrize("way", ["score_images", "register_udf", "ingest"])
def test_a_pyspark_that_is_only_a_client_is_refused(way):
    """PySpark without its JVM (the package ``pyspark-client``); this variable makes the whole one behave like it."""
    done = subprocess.run(
        [sys.executable, "-c", f"import convoy; convoy.{way}"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path)), "SPARK_SKIP_CONNECT_COMPAT_TESTS": "1"},
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("convoy.errors.ClusterError: the installed PySpark is a client of Spark Connect")
