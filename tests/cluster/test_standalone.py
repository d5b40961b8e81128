"""All jobs on Spark's standalone master, whose workers have no Python packages but what the archive brings.

``make test-cluster`` makes the archive first. Driver and executors run the archive's Python; jobs start in a folder
that is not the project's.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cluster.network import Network
from tests.standalone import LOOPBACK, QUICK, SPARK, Cluster, Host

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = ROOT / "dist" / "env.tar.gz"

pytestmark = [pytest.mark.cluster, pytest.mark.e2e, pytest.mark.spark, pytest.mark.timeout(1500)]


class Place:
    """A cluster, the driver's copy of the environment, and a folder for all that the jobs write.

    Args:
        folder: Of all of it.
        hosts: Of the driver and the master; of each worker.
    """

    def __init__(self, folder: Path, hosts: Sequence[Host]) -> None:
        self.host, *self.others = hosts
        self.folder, self.elsewhere, self.driver = folder, folder / "elsewhere", folder / "driver"
        for name in ("elsewhere", "driver", "workers", "conf", "home"):
            (folder / name).mkdir()
        subprocess.run(["tar", "-xzf", str(ARCHIVE), "-C", str(self.driver)], check=True)
        bare = {"PATH": "/usr/bin:/bin", "HOME": str(folder / "home"), "SPARK_CONF_DIR": str(folder / "conf")}
        self.cluster = Cluster(folder / "workers", {**bare, "SPARK_HOME": str(SPARK)}, self.host)
        self.workers = [self.cluster.add_worker("2g", host) for host in self.others]
        self.tracking = f"sqlite:///{folder}/mlflow.db"

    def start(
        self, job: str, *arguments: str, archive: bool = True, python: str = "./env/bin/python"
    ) -> subprocess.Popen:
        """Submit a job; Spark's log goes to ``<job>.log``, what the job itself prints to ``<job>.out``."""
        properties = {
            "spark.driver.host": self.host.address,
            "spark.driver.bindAddress": self.host.address,
            "spark.executor.memory": "512m",
            "spark.ui.enabled": "false",
            "spark.driver.extraJavaOptions": QUICK,
            "spark.executor.extraJavaOptions": QUICK,
        }
        command = [
            *self.host.enter,
            str(SPARK / "bin" / "spark-submit"),
            *("--master", self.cluster.master),
            *("--properties-file", str(ROOT / "conf" / "spark" / "standalone.conf")),
            *(text for name, value in properties.items() for text in ("--conf", f"{name}={value}")),
            *(["--archives", f"{ARCHIVE}#env"] if archive else []),
            str(ROOT / "jobs" / f"{job}.py"),
            *("--config", str(ROOT / "conf" / "digits.yaml")),
            *("--dataset.root", str(self.folder / "datasets")),
            *("--training.checkpoint.folder", str(self.folder / "checkpoints")),
            *("--tracking.uri", self.tracking),
            *arguments,
        ]
        environment = {
            **self.cluster.environment,
            "SPARK_LOCAL_IP": self.host.address,
            "PYSPARK_PYTHON": python,
            "PYSPARK_DRIVER_PYTHON": str(self.driver / "bin" / "python"),
        }
        with self.file(job, "log").open("w") as log, self.file(job, "out").open("w") as out:
            return subprocess.Popen(command, cwd=self.elsewhere, env=environment, stdout=out, stderr=log)

    def file(self, job: str, kind: str) -> Path:
        return self.folder / f"{job}.{kind}"

    def printed(self, job: str) -> str:
        """What a job has printed: spark-submit puts a driver's stderr into its stdout."""
        return self.file(job, "out").read_text()

    def result(self, job: str, process: subprocess.Popen, status: int = 0, seconds: float = 600) -> dict:
        """Wait for a job; its JSON line."""
        try:
            process.wait(timeout=seconds)
        finally:
            process.kill()
        assert process.returncode == status, self.printed(job)[-3000:] + self.file(job, "log").read_text()[-3000:]
        for left in (self.folder / "workers").glob("app-*"):  # gigabytes
            shutil.rmtree(left, ignore_errors=True)
        return json.loads(self.printed(job).splitlines()[-1])

    def run(self, job: str, *arguments: str) -> dict:
        return self.result(job, self.start(job, *arguments))

    def end(self) -> None:
        self.cluster.end()
        for name in ("driver", "workers"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    assert ARCHIVE.exists(), "there is no archive yet; type: make test-cluster"
    place = Place(tmp_path_factory.mktemp("cluster"), [LOOPBACK] * 3)
    try:
        yield place
    finally:
        place.end()


def findings(result, check):
    return [f"{finding['level']}: {finding['text']}" for finding in result["findings"] if finding["check"] == check]


def test_doctor_tells_what_is_wrong_with_executors_and_that_nothing_is(place):
    # The archive was forgotten; then a Python of the system, which has no packages.
    for python, said in (
        ("./env/bin/python", r'error: an executor cannot run a Python task: Cannot run program "./env/bin/python"'),
        ("/usr/bin/python3", r"error: .*(has no convoy|has different version|has no \w+ \(driver|has python)"),
    ):
        result = place.result("doctor", place.start("doctor", "--json", archive=False, python=python), status=1)
        (finding,) = findings(result, "executors")
        assert re.match(said, finding), finding
        assert result["errors"] == 1, result
    result = place.run("doctor", "--json")
    assert result["errors"] == 0, result
    (finding,) = findings(result, "executors")
    assert finding.startswith("ok: on ")
    assert findings(result, "spark") == [f"ok: {place.cluster.master}: 2 tasks at once; training.num_workers is 2"]


def run_all_jobs(place):
    assert sum(place.run("ingest")["rows"].values()) == 1797
    trained = place.run("train", "--training.epochs", "6")
    assert trained["run_id"]
    assert place.run("evaluate")["accuracy"] > 0.9
    place.run("score", "--scoring.output", str(place.folder / "scores"))
    scores = pq.read_table(place.folder / "scores")
    assert scores.num_rows == 171
    assert scores["error"].null_count == 171
    assert not list(place.elsewhere.iterdir()), "a job wrote into the folder that it was started in"


def test_all_jobs_run_from_a_folder_that_is_not_the_projects(place):
    run_all_jobs(place)


@contextmanager
def tracking_server(place: Place) -> Iterator[str]:
    """MLflow's server, on the driver's host and for that host alone: neither ranks nor executors reach it."""
    store = (f"sqlite:///{place.folder}/server.db", "--artifacts-destination", f"{place.folder}/artifacts")
    server = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--workers",
        "1",
        "--host",
        "127.0.0.1",
        "--port",
        "5000",
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (place.folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*place.host.enter, *server, "--backend-store-uri", *store],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        uri = "http://127.0.0.1:5000"  # of the driver's namespace
        ask = [*place.host.enter, sys.executable, "-c", f"import urllib.request as r; r.urlopen('{uri}/health')"]
        deadline = time.monotonic() + 120
        while subprocess.run(ask, capture_output=True).returncode:
            assert process.poll() is None, (place.folder / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(1)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)


needs_network = pytest.mark.skipif(bool(Network.missing()), reason=Network.missing())


@needs_network
def test_hosts_that_give_others_their_loopback_address_are_named(tmp_path):
    """Horovod would wait for ever; the system's Python is enough to tell."""
    with Network(named=False) as network:
        place = Place(tmp_path, network.hosts)
        try:
            process = place.start("doctor", "--json", archive=False, python="/usr/bin/python3")
            said = findings(place.result("doctor", process, status=1), "executors")
        finally:
            place.end()
    assert any("own name resolves to 127.0.1.1 there" in finding for finding in said), said


@needs_network
def test_all_jobs_run_across_a_network_with_a_tracking_server(tmp_path):
    """Horovod's rendezvous, data and results cross it; the driver alone reaches the tracking server."""
    with Network() as network:
        place = Place(tmp_path, network.hosts)
        try:
            with tracking_server(place) as uri:
                place.tracking = uri
                run_all_jobs(place)
        finally:
            place.end()


def test_a_worker_is_killed_while_training_and_the_job_finishes(place):
    if not (place.folder / "datasets").exists():
        place.run("ingest")
    epochs = 60
    process = place.start("train", "--training.epochs", str(epochs))
    deadline = time.monotonic() + 300
    while not re.search(r"^epoch +\d+/", text := place.printed("train"), re.MULTILINE):
        assert process.poll() is None, text[-5000:]
        assert time.monotonic() < deadline, text[-5000:]
        time.sleep(0.1)
    place.workers.pop().kill()
    place.workers.append(place.cluster.add_worker("2g"))
    result = place.result("train", process)
    text = place.printed("train")
    assert "warning: the ranks did not finish" in text, text[-5000:]
    assert "resuming from the checkpoint in epoch " in text, text[-5000:]
    assert f"epoch {epochs}/{epochs}" in text
    assert result["run_id"]
