"""Settings that decide about the session, and sessions that Convoy cannot use: one line that says what to do."""

import contextlib
import importlib
import importlib.util
import os
import socket
import subprocess
import sys
import threading

import pyspark
import pytest

from convoy.cluster.connect import setting_of_connect, shown, version_problem
from convoy.cluster.session_check import check_session, worker_python_problem
from convoy.cluster.spark import session
from convoy.config import SparkConfig
from convoy.errors import ClusterError
from tests.field.inputs import sessions as inputs

HAS_CONNECT = not pyspark.__version__.startswith("3.") and all(
    map(importlib.util.find_spec, ("grpc", "grpc_status", "zstandard"))
)
NEEDS = "Spark Connect needs grpcio, grpcio-status, googleapis-common-protos and zstandard"
REMOTE = "sc://127.0.0.1:15002"
ENVIRONMENTS = [
    ({"SPARK_REMOTE": REMOTE}, {}, "local[2]", ("SPARK_REMOTE", REMOTE)),
    ({"SPARK_REMOTE": "local[2]"}, {"spark.remote": REMOTE}, "local[*]", ("SPARK_REMOTE", "local[2]")),
    ({}, {"spark.remote": REMOTE}, "local[2]", ("spark.conf spark.remote", REMOTE)),
    ({}, {}, "sc://host", ("spark.master", "sc://host")),
    ({"SPARK_API_MODE": "connect"}, {}, "local[2]", ("SPARK_API_MODE", "local[2]")),
    ({}, {"spark.api.mode": "connect"}, "local[2]", ("spark.conf spark.api.mode", "local[2]")),
    ({"SPARK_REMOTE": "", "SPARK_API_MODE": "classic"}, {"spark.api.mode": "classic"}, "spark://host:7077", None),
]


@pytest.mark.parametrize(("environment", "properties", "master", "found"), ENVIRONMENTS)
def test_the_setting_that_leads_to_spark_connect(environment, properties, master, found):
    assert setting_of_connect(properties, master, environment) == found


def test_the_token_of_an_address_is_not_shown():
    assert shown("sc://host:443/;use_ssl=true;token=abc;user_id=anna") == (
        "sc://host:443/;use_ssl=true;token=[hidden];user_id=anna"
    )


@pytest.mark.parametrize(
    ("client", "server", "problem", "warning"),
    [
        ("4.3.0", "4.3.0", "", ""),
        ("4.3.0", "4.3.2", "", ""),
        ("4.1.0", "4.3.0-SNAPSHOT", "", "is Spark 4.3.0-SNAPSHOT, and this client is PySpark 4.1.0"),
        ("4.0.1", "5.0.0", "", 'pip install "pyspark[connect]==5.0.*"'),
        ("4.3.0", "4.1.4", 'expected a server of Spark 4.3 or newer: pip install "pyspark[connect]==4.1.*"', ""),
        ("4.0.0", "3.5.9", "expected a server of Spark 4.0 or newer", ""),
        ("4.1.0+databricks.connect.17.3.1", "4.0.0", "", ""),
        ("17.3.2", "4.0.0", "", ""),
        ("16.4.1", "3.5.2", "expected a server of Spark 4.0 or newer", ""),
    ],
)  # fmt: skip
def test_a_server_of_another_spark(client, server, problem, warning):
    found = version_problem(client, server)
    for text, part in zip(found, (problem, warning), strict=True):
        assert bool(text) == bool(part)
        assert part in text
        assert "\n" not in text


@contextlib.contextmanager
def page_server():
    """A web server, which is no server of Spark Connect."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

        threading.Thread(target=answer, daemon=True).start()
        yield f"sc://127.0.0.1:{server.getsockname()[1]}"


def refused_line(address, monkeypatch):
    """Return what a session on an address is refused with."""
    monkeypatch.setenv("SPARK_REMOTE", address)
    monkeypatch.setattr("convoy.cluster.connect._ANSWER_SECONDS", 1)
    monkeypatch.setattr("convoy.cluster.spark.SparkSession.getActiveSession", lambda: None)
    with pytest.raises(ClusterError) as refused, session("test", SparkConfig()):
        pass
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.skipif(not HAS_CONNECT, reason=NEEDS)
def test_a_server_that_does_not_answer(monkeypatch):
    line = refused_line("sc://127.0.0.1:9/;token=abc", monkeypatch)
    assert line.startswith("SPARK_REMOTE 'sc://127.0.0.1:9/;token=[hidden]' does not answer within 1 s")
    with page_server() as address:
        assert f"SPARK_REMOTE '{address}' does not answer" in refused_line(address, monkeypatch)
    assert "expected sc://host:port" in refused_line("sc://", monkeypatch)


def test_missing_packages_and_an_old_pyspark_are_named(monkeypatch):
    monkeypatch.setattr("convoy.cluster.connect.pyspark.__version__", "4.3.0")
    monkeypatch.setattr("convoy.cluster.connect._PACKAGES", ("no_such_package", "none.below"))
    line = refused_line(REMOTE, monkeypatch)
    assert 'packages that are missing (no_such_package, none.below): pip install "pyspark[connect]==4.3.0"' in line
    monkeypatch.setattr("convoy.cluster.connect.pyspark.__version__", "3.5.3")
    assert "from Spark 4.0 on, and PySpark is 3.5.3" in refused_line(REMOTE, monkeypatch)


def test_a_job_ends_with_one_line_where_no_server_answers(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARK_REMOTE", REMOTE)
    monkeypatch.setattr("convoy.cluster.connect._ANSWER_SECONDS", 1)
    monkeypatch.setattr("convoy.cluster.spark.SparkSession.getActiveSession", lambda: None)
    assert importlib.import_module("jobs.ingest").main(["--source.kind", "digits"]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: SPARK_REMOTE ")


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
