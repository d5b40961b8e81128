"""Limits of containers and of Spark count for what is kept in memory; a rank that is killed is explained."""

import functools
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from convoy.cluster.cores import cores
from convoy.cluster.cores import question as cores_question
from convoy.cluster.memory import Memory, container_share, heap_bytes, memory, spark_bytes
from convoy.cluster.memory import question as memory_question
from convoy.cluster.preflight import probe_of
from convoy.config import CheckpointConfig, Config, ModelConfig, TrainingConfig
from convoy.models.builder import build
from convoy.training.checkpoint.resume import with_cache_of_checkpoint
from convoy.training.distributed.launch import RankFailure, launch, threads_per_rank, was_killed
from convoy.training.events import Restart
from convoy.training.loop import TrainTask
from convoy.training.preparation import fit_cache
from tests.field.inputs import memory as inputs
from tests.logged import manifest
from tests.training.conftest import dataset  # noqa: F401 - a fixture

GIB = inputs.GIB


@pytest.mark.parametrize(
    ("kind", "total", "available"),
    [
        (inputs.no_container, 64, 48),
        (inputs.docker_v2, 2, 1),
        (inputs.nested_v2, 4, 3),
        (inputs.docker_v1, 3, 2),
        (inputs.nested_v1, 1, 0.75),
        (inputs.throttled_v2, 1, 0.75),
    ],
)
def test_the_lowest_limit_counts(tmp_path, kind, total, available):
    found = memory(kind(tmp_path))
    assert (found.total, found.available) == (total * GIB, available * GIB)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (inputs.no_container, 64),
        (inputs.two_and_a_half_cores_v2, 3),
        (inputs.pod_of_two_cores_v2, 2),
        (inputs.half_a_core_v1, 1),
        (inputs.pinned_cores_v1, 5),
        (inputs.pinned_cores_v2, 2),
    ],
)
def test_the_fewest_cores_count(tmp_path, kind, expected):
    assert cores(kind(tmp_path), allowed=64) == expected
    assert cores(str(tmp_path), allowed=1) == 1


def test_training_in_this_process_uses_the_containers_cores(monkeypatch):
    """TensorFlow counts the cores of the affinity mask by itself."""
    assert 1 <= cores() <= len(os.sched_getaffinity(0))
    for limit, threads in ((2, 2), (64, 0)):
        monkeypatch.setattr("convoy.cluster.cores.cores", lambda limit=limit: limit)
        monkeypatch.setattr("convoy.cluster.cores._affinity", lambda: 64)
        assert threads_per_rank(None, workers=0) == threads


def test_the_limits_of_a_machine_are_measured_without_convoy(tmp_path):
    """As on executors, which get the functions' code."""
    from pyspark import cloudpickle

    measured = cloudpickle.dumps((memory_question(), cores_question()))
    code = (
        "import pickle, sys; found = pickle.load(sys.stdin.buffer);"
        f"print(found[0]({inputs.docker_v2(tmp_path)!r})['total'], found[1]('/', 3), 'convoy' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    path = os.pathsep.join(folder for folder in sys.path if folder.endswith("-packages"))
    done = subprocess.run(
        [sys.executable, "-c", code], input=measured, capture_output=True, check=True, cwd=tmp_path,
        env={**environment, "PYTHONPATH": path},
    )  # fmt: skip
    total, found, imported = done.stdout.decode().split()
    assert (int(total), imported) == (2 * GIB, "False")
    assert 1 <= int(found) <= 3


def test_this_machine_has_memory():
    found = memory()
    assert 0 < found.available <= found.total
    assert next(probe_of("none", None)([])).count('"memory"') == 1


def test_a_limit_of_the_process_counts_for_each_of_them():
    """Spark sets it in its Python workers for ``spark.executor.pyspark.memory``; ranks inherit it."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30));"
        "from convoy.cluster.memory import memory; found = memory(); print(found.process, found.share(1))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert 1 * GIB < int(said[0]) < 3 * GIB
    assert int(said[1]) <= int(said[0])
    assert Memory(64 * GIB, 40 * GIB, 2 * GIB).share(4) == 2 * GIB
    assert Memory(64 * GIB, 4 * GIB, 2 * GIB).share(4) == GIB


def test_the_heap_of_the_jvm_is_not_for_python():
    """It grows while ranks run: what is free before is not theirs."""
    assert heap_bytes({"spark.executor.memory": "3g"}, "spark://host:7077") == 3 * GIB
    assert heap_bytes({"spark.executor.memory": "3g"}, "local[2]") == GIB
    assert heap_bytes({"spark.driver.memory": "2g"}, "local-cluster[1,1,1024]") == 2 * GIB
    assert Memory(4 * GIB, 4 * GIB).share(2, reserved=3 * GIB) == GIB // 2
    assert Memory(64 * GIB, 8 * GIB).share(2, reserved=3 * GIB) == 4 * GIB


def test_sizes_in_sparks_notation():
    assert [spark_bytes(text) for text in ("2g", "512m", "1024", "3GB", "1k")] == [
        2 * GIB, GIB // 2, GIB, 3 * GIB, 1024,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("conf", "master", "mib"),
    [
        ({"spark.executor.memory": "8g"}, "yarn", 819),
        ({"spark.executor.memory": "1g"}, "yarn", 384),
        ({"spark.executor.memory": "1g", "spark.executor.pyspark.memory": "2g"}, "yarn", 384 + 2048),
        ({"spark.executor.memoryOverhead": "4g", "spark.executor.cores": "4", "spark.task.cpus": "2"}, "yarn", 2048),
        ({"spark.executor.memory": "10g"}, "k8s://https://host", 4096),
    ],
)
def test_what_a_container_leaves_to_python(conf, master, mib):
    assert container_share(conf, master) >> 20 == mib


def test_other_masters_do_not_limit_python_by_the_heap():
    assert container_share({"spark.executor.memory": "1g"}, "spark://host:7077") is None


def test_splits_that_a_rank_cannot_hold_are_read_from_their_files(capsys):
    data = manifest()
    data = replace(data, splits={**data.splits, "validation": data.splits["train"]})
    size = 2 * data.split("train").rows * data.spec.nbytes
    assert fit_cache(TrainingConfig(), data, 2 * size).cache == "auto"
    assert fit_cache(TrainingConfig(), data, None).cache == "auto"
    assert capsys.readouterr().err == ""
    assert fit_cache(TrainingConfig(), data, 2 * size - 1).cache == "none"
    assert "training.cache auto" in capsys.readouterr().err
    assert fit_cache(TrainingConfig(cache="memory"), data, 1).cache == "memory"


def test_a_resumed_run_keeps_the_cache_of_its_checkpoint(tmp_path):
    from convoy.training.checkpoint.store import Checkpoint, CheckpointStore

    training = TrainingConfig(checkpoint=CheckpointConfig(str(tmp_path)), resume="a")
    config = replace(Config(), training=training)
    assert with_cache_of_checkpoint(config) == config
    for used in ("none", "auto"):
        CheckpointStore(tmp_path / used, 1, print).save(Checkpoint(1, {}, {"identity": {"training.cache": used}}))
        found = with_cache_of_checkpoint(replace(config, training=replace(training, resume=used)))
        assert found.training.cache == used


@pytest.mark.parametrize(
    "said",
    [
        "one or more processes exited with non-zero status\nProcess name: 1\nExit code: 137\n",
        "ExecutorLostFailure (executor 1 exited caused by one of the running tasks) Command exited with code 137",
        "The executor with id 3 exited with exit code 137(SIGKILL, possible container OOM).",
        "container has the reason OOMKilled",
        "Container killed by YARN for exceeding memory limits. 5.5 GB of 5.5 GB physical memory used.",
    ],
)
def test_a_kill_is_recognised(said):
    assert was_killed(said)


@pytest.mark.parametrize("said", ["Exit code: 1", "exited with code 13", "Exit code: 1370", "137 steps"])
def test_other_ends_are_no_kill(said):
    assert not was_killed(said)


def network_that_kills(file, *arguments):
    """A network whose construction ends the rank as the kernel does that is out of memory."""
    with open(file, "a") as starts:
        starts.write("x")
    os.kill(os.getpid(), signal.SIGKILL)
    return build(*arguments)


@pytest.mark.spark
@pytest.mark.e2e
@pytest.mark.long
def test_ranks_that_run_out_of_memory_are_started_again_only_once(spark, dataset, tmp_path):  # noqa: F811
    training = TrainingConfig(num_workers=1, epochs=2, max_restarts=3, checkpoint=CheckpointConfig(str(tmp_path)))
    own = functools.partial(network_that_kills, str(tmp_path / "starts"))
    events = []
    with pytest.raises(RankFailure, match=r"killed \(signal 9\), probably .* out of memory: lower") as failure:
        launch(spark, TrainTask(str(dataset), ModelConfig(), training, own, 1, str(tmp_path)), events.append)
    assert (tmp_path / "starts").read_text() == "xx"
    assert [event.attempt for event in events if isinstance(event, Restart)] == [1]
    assert failure.value.killed
