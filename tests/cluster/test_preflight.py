"""Whether executors have what the driver has: the comparison, and the Spark job that asks."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark import cloudpickle

from convoy.cluster import connectivity, preflight
from convoy.cluster.preflight import Machine, check_executors, first_problem, probe_of
from convoy.cluster.spark_errors import failed_job
from convoy.dataset.storage.manifest import NAME as MANIFEST
from convoy.dataset.storage.object_path import ObjectPath
from convoy.errors import ClusterError, DatasetError

VERSIONS: dict[str, str | None] = {
    "python": "3.11",
    "convoy": "0.1.0",
    "tensorflow": "2.18.1",
    "keras": "3.15.1",
    "horovod": "0.28.1",
    "numpy": "1.26.4",
    "pyarrow": "14.0.2",
    "petastorm": "0.13.1",
}
ALIKE = {"python", "convoy", "tensorflow", "keras", "horovod"}
DRIVER = Machine("driver", VERSIONS, "abc")


def machine(host="one", manifest: str | None = "abc", **versions):
    return Machine(host, VERSIONS | versions, manifest, None if manifest else "No such file or directory")


def line(error):
    assert error is not None
    assert "\n" not in str(error)
    return str(error)


@given(
    st.dictionaries(st.sampled_from(sorted(VERSIONS)), st.sampled_from([None, "0.0.1"])),
    st.integers(0, 3),
)
def test_what_differs_is_named_and_nothing_else_is_a_problem(changed, healthy):
    machines = [machine(f"healthy-{i}") for i in range(healthy)] + [machine("two", **changed)] * 2
    error = first_problem(DRIVER, machines, "/data/v/manifest.json")
    problems = {name for name, version in changed.items() if version is None or name in ALIKE}
    if not problems:
        assert error is None
        return
    assert isinstance(error, ClusterError)
    message = line(error)
    assert message.startswith("host two has ")
    assert {name for name in VERSIONS if f"{name} " in message.partition(";")[0]} == problems
    for name in problems:
        assert f"(driver: {VERSIONS[name]})" in message


def test_the_message_says_who_has_what_and_how_many_more():
    machines = [machine("b", keras=None), machine("c", tensorflow="2.17.0"), machine("a", tensorflow="2.16.1")]
    assert line(first_problem(DRIVER, machines, "/data/v/manifest.json")) == (
        "host a (and 2 more hosts) has tensorflow 2.16.1 (driver: 2.18.1); install the driver's versions on every"
        " worker, or ship its environment with --archives"
    )
    assert line(first_problem(DRIVER, [machine("b", keras=None)], "/data/v/manifest.json")).startswith(
        "host b has no keras (driver: 3.15.1);"
    )


def at(host, address: str | None, network=""):
    return dataclasses.replace(machine(host), network=network or host, address=address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.1.1", "::1", None])
def test_a_host_that_gives_others_its_loopback_address_is_refused_where_there_are_others(address):
    assert first_problem(DRIVER, [at("one", address), at("one", address)], "/data/v/manifest.json") is None
    for others in ([at("two", "10.0.0.2")], [at("one", "10.0.0.2", "another network")]):
        error = first_problem(DRIVER, [at("one", address), *others], "/data/v/manifest.json")
        assert isinstance(error, ClusterError)
        assert f"host one's own name resolves to {address or 'nothing'} there" in line(error)
        assert "/etc/hosts" in line(error)
    assert first_problem(DRIVER, [at("one", "10.0.0.1"), at("two", "10.0.0.2")], "/data/v/manifest.json") is None


def test_what_the_driver_does_not_have_is_not_asked_for():
    driver = dataclasses.replace(DRIVER, versions=VERSIONS | {"petastorm": None})
    assert first_problem(driver, [machine(), machine(petastorm=None)], "/data/v/manifest.json") is None


def test_every_host_must_see_this_very_dataset_and_write_checkpoints():
    unseen = first_problem(DRIVER, [machine(), machine("two", manifest=None)], "/data/v/manifest.json")
    assert isinstance(unseen, DatasetError)
    assert line(unseen).startswith(
        "dataset.root must be a folder that every worker can read: host two cannot read /data/v/manifest.json (No such"
    )
    other = first_problem(DRIVER, [machine("two", manifest="def")], "/data/v/manifest.json")
    assert isinstance(other, DatasetError)
    assert "host two has another /data/v/manifest.json" in line(other)
    locked = dataclasses.replace(machine("two"), unwritable="/checkpoints: Permission denied")
    unwritable = first_problem(DRIVER, [machine(), locked], "/data/v/manifest.json")
    assert isinstance(unwritable, ClusterError)
    assert "host two cannot write (/checkpoints: Permission denied)" in line(unwritable)


@pytest.mark.long
def test_datasets_and_checkpoints_in_an_object_store_are_tried_on_every_host(s3):
    manifest = ObjectPath(s3) / "v" / "manifest.json"
    manifest.write_text("{}")

    def host(name, *places):
        found = Machine(**json.loads(next(probe_of(*places)([]))))
        return dataclasses.replace(found, host=name, network=name, address="10.0.0.1")

    driver, same = (host(name, str(manifest), f"{s3}/checkpoints/") for name in ("driver", "one"))
    assert first_problem(driver, [same], str(manifest)) is None
    assert [path for path, _ in ObjectPath(s3).files()] == [manifest]
    unread = first_problem(driver, [host("two", f"{s3}/none/manifest.json", s3)], str(manifest))
    assert "host two cannot read s3://" in line(unread)
    assert "(No such file or directory); give it the package s3fs and credentials" in line(unread)
    locked = first_problem(driver, [host("two", str(manifest), "s3://no-such-bucket/x")], str(manifest))
    assert "host two cannot write (s3://no-such-bucket/x: The specified bucket does not exist); give it" in line(locked)


def test_a_host_that_does_not_reach_the_driver_is_one_line_with_address_port_and_mend():
    cut_off = dataclasses.replace(machine("two"), unreached="the driver at 10.0.0.1:4242 (timed out)")
    error = first_problem(DRIVER, [machine(), cut_off], "/data/v/manifest.json")
    assert isinstance(error, ClusterError)
    assert line(error).startswith("host two cannot reach the driver at 10.0.0.1:4242 (timed out) within 5 s; set")
    assert "spark.driver.host" in line(error)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            'x\njava.io.IOException: Cannot run program "py": error=2, No\n\tat j.X',
            'Cannot run program "py": error=2, No',
        ),
        (
            "Job aborted\npyspark.errors.PySparkRuntimeError: [PYTHON_VERSION_MISMATCH] Python in worker has different"
            " version (3, 10) than that in driver 3.11, PySpark cannot run with different minor versions.\nPlease",
            "Python in worker has different version (3, 10) than that in driver 3.11, PySpark cannot run with different"
            " minor versions",
        ),
        (
            "org.apache.spark.SparkException: \nError from python worker:\n  Traceback\n    import pandas\n"
            "  ModuleNotFoundError: No module named 'pandas'\nPYTHONPATH was:",
            "ModuleNotFoundError: No module named 'pandas'",
        ),
        ("something else\nand more", "something else"),
    ],
)
def test_a_task_that_cannot_even_ask_is_one_line(text, reason):
    assert line(failed_job(text)).startswith(f"an executor cannot run a Python task: {reason}; install")


@pytest.fixture
def version(tmp_path):
    (tmp_path / MANIFEST).write_text("{}")
    return tmp_path


@pytest.mark.spark
def test_executors_like_the_driver_pass_and_nothing_is_left_behind(spark, version, tmp_path_factory):
    checkpoints = tmp_path_factory.mktemp("checkpoints")
    check_executors(spark, 4, str(version / MANIFEST), str(checkpoints))
    check_executors(spark, 2, str(version / MANIFEST), None)
    assert not list(checkpoints.iterdir())


@pytest.mark.spark
def test_a_driver_that_gives_executors_an_address_of_no_use_is_refused(spark, version, monkeypatch):
    """192.0.2.1 is nobody's (https://www.rfc-editor.org/rfc/rfc5737): networks are silent about it, or refuse it."""
    monkeypatch.setattr(connectivity, "SECONDS", 0.5)
    monkeypatch.setattr(preflight, "driver_addresses", lambda spark: ("127.0.0.1", "192.0.2.1"))
    with pytest.raises(
        ClusterError, match=r"^host \S+ cannot reach the driver at 192\.0\.2\.1:\d+ \(.*\) within 0\.5 s; "
    ):
        check_executors(spark, 2, str(version / MANIFEST), None)


def unreached(meeting):
    return json.loads(next(probe_of("", None, meeting)([])))["unreached"]


@pytest.fixture
def closed():
    """A port on which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def test_the_question_names_address_and_port_of_a_driver_that_is_not_there(closed):
    assert unreached(("127.0.0.1", closed)) == f"the driver at 127.0.0.1:{closed} (Connection refused)"
    assert unreached(None) is None
    with connectivity.listening("127.0.0.1", "127.0.0.1", 1) as meeting:
        assert unreached(meeting) is None
        assert unreached(meeting) is None  # who comes late is let go
    assert "(Connection refused)" in unreached(meeting)


def test_machines_that_reach_each_other_say_so_and_one_behind_a_firewall_is_named_with_its_port(closed):
    with ThreadPoolExecutor(4) as threads:
        with connectivity.listening("127.0.0.1", "127.0.0.1", 4) as meeting:
            assert [each.result(20) for each in [threads.submit(unreached, meeting) for _ in range(4)]] == [None] * 4
        with (
            connectivity.listening("127.0.0.1", "127.0.0.1", 2) as meeting,
            socket.create_connection(meeting) as walled,
        ):
            other = threads.submit(unreached, meeting)
            walled.sendall(f"127.0.0.1 {closed}\n".encode())
            host, port = json.loads(walled.recv(100))
            socket.create_connection((host, port), timeout=5).close()
            walled.sendall(b"done\n")
            assert other.result(20) == f"another worker at 127.0.0.1:{closed} (Connection refused)"


def test_tasks_that_do_not_come_are_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(connectivity, "_GATHER_SECONDS", 0.3)
    with connectivity.listening("127.0.0.1", "127.0.0.1", 2) as meeting:
        assert unreached(meeting) is None


@pytest.mark.spark
def test_a_folder_that_is_not_there_is_named(spark, version):
    with pytest.raises(DatasetError, match=rf"host \S+ cannot read {version}/gone/{MANIFEST} \(No such file"):
        check_executors(spark, 2, str(version / "gone" / MANIFEST), None)
    with pytest.raises(ClusterError, match=rf"cannot write \({version}/gone: No such file"):
        check_executors(spark, 2, str(version / MANIFEST), str(version / "gone"))


@pytest.mark.spark
def test_executors_without_a_usable_python_are_refused_with_the_reason(spark, version, monkeypatch):
    monkeypatch.setattr(spark.sparkContext, "pythonExec", f"{sys.executable}-that-is-not-there")
    with pytest.raises(ClusterError, match=r"Cannot run program .*-that-is-not-there.*PYSPARK_PYTHON"):
        check_executors(spark, 2, str(version / MANIFEST), None)


def test_the_question_is_sent_as_code_so_a_host_without_convoy_says_so(version):
    question = cloudpickle.dumps(probe_of(str(version / MANIFEST), None))
    answer = "import pickle, sys; sys.modules['convoy'] = None; print(next(pickle.load(sys.stdin.buffer)([])))"
    asked = subprocess.run([sys.executable, "-c", answer], input=question, capture_output=True, check=True)
    versions = json.loads(asked.stdout)["versions"]
    assert versions["convoy"] is None
    assert all(versions[name] for name in VERSIONS if name != "convoy")


def test_without_ranks_there_is_nothing_to_ask():
    check_executors(None, 0, "/gone", "/gone")


def test_what_tries_the_others_listens_only_where_it_reaches_the_driver():
    def listening():
        return {
            each.laddr
            for each in psutil.net_connections("tcp")
            if each.pid == os.getpid() and each.status == psutil.CONN_LISTEN and each.laddr not in before
        }

    before = set()
    before = listening()
    with connectivity.listening("127.0.0.1", "127.0.0.1", 2) as meeting, ThreadPoolExecutor(2) as tasks:
        first = tasks.submit(connectivity.question(meeting))
        deadline = time.monotonic() + 10
        while len(found := listening()) < 2 and time.monotonic() < deadline:  # the driver's, and its own
            time.sleep(0.01)
        second = tasks.submit(connectivity.question(meeting))
        assert (first.result(20), second.result(20)) == (None, None)
    assert len(found) == 2
    assert {address.ip for address in found} == {"127.0.0.1"}
