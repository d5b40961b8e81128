"""What facts mean for a job."""

import dataclasses
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.cluster.preflight import Machine
from convoy.config import Config, TrainingConfig
from convoy.doctor.checks import Finding, check_checkpoints, check_dataset, examine
from convoy.doctor.facts import Cluster, Facts, Folder, Host
from convoy.doctor.pins import Pins
from convoy.training.distributed.toolkit import Toolkit

PINS = Pins({"keras": "3.15.1", "horovod": "0.28.1"}, {"keras": "<4,>=3"})
MACHINE = Machine("one", {"python": "3.11", "keras": "3.15.1", "horovod": "0.28.1", "numpy": "1.26.4"}, "abc")
TOOLS = Toolkit(["CPU:0"], {"gloo": True, "mpi": False, "nccl": False})
HOST = Host(
    machine=MACHINE,
    python="3.11.7",
    cores=8,
    memory_mb=32_768,
    gpu=False,
    toolkit=TOOLS,
    dataset=Folder("/data", True, True, True, 50_000),
    checkpoints=Folder("/checkpoints", False, True, True, 50_000),
)
FACTS = Facts(
    convoy="0.1.0 from /convoy",
    packages={"keras": "3.15.1", "horovod": "0.28.1"},
    driver=HOST,
    version_path="/data/digits/v",
    tracking="answers",
    tracking_problem=None,
    cluster=Cluster("spark://master:7077", "17.0.9", 4, (HOST, HOST)),
)


def found(facts, check, config=None, pins=PINS):
    return [finding for finding in examine(facts, config or Config(), pins) if finding.check == check]


def one(facts, check, level, config=None):
    """The only finding of that check; what it says and how to fix it, on one line."""
    (finding,) = found(facts, check, config)
    assert finding.level == level, finding
    assert bool(finding.fix) == (level != "ok")
    assert "\n" not in finding.cells()[-1]
    return finding.cells()[-1]


def elsewhere(facts, **changed):
    """With another host beside the driver's."""
    host = replace(HOST, **{"machine": replace(MACHINE, host="two"), **changed})
    return replace(facts, cluster=replace(facts.cluster, hosts=(HOST, host)))


def test_where_nothing_is_wrong_everything_is_ok_and_there_is_nothing_to_mend():
    findings = examine(FACTS, Config(), PINS)
    assert {finding.level for finding in findings} == {"ok"}
    assert not any(finding.fix for finding in findings)
    checks = "python convoy packages tensorflow horovod machine dataset checkpoints tracking java spark executors"
    assert [finding.check for finding in findings] == checks.split()


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("3.10.13", "error"),
        ("3.11.7", "ok"),
        ("3.12.1", "ok"),
        ("3.13.0", "ok"),
        ("3.14.0", "error"),
        ("3.1.4", "error"),
    ],
)
def test_pythons_outside_of_the_supported_ones_are_an_error(version, level):
    line = one(replace(FACTS, driver=replace(HOST, python=version)), "python", level)
    assert level == "ok" or "3.11, 3.12, 3.13" in line


@pytest.mark.parametrize(
    ("version", "level"),
    [(None, "error"), ("2.9", "error"), ("4.0", "error"), ("3.9.0", "ok"), ("3.15.1", "ok"), ("3.16.0", "warning")],
)
def test_a_package_is_missing_or_out_of_range_or_newer_than_tested_or_fine(version, level):
    line = one(replace(FACTS, packages=FACTS.packages | {"keras": version}), "packages", level)
    assert level == "ok" or "keras" in line


def test_a_pair_of_packages_that_do_not_fit_is_named():
    facts = replace(FACTS, packages=FACTS.packages | {"pyspark": "4.2.1", "pyarrow": "14.0.2"})
    assert "pyspark 4.2.1 needs pyarrow>=18, found 14.0.2" in one(facts, "packages", "error")


@pytest.mark.parametrize(
    ("tools", "check", "level"),
    [
        (Toolkit(problem="ImportError: libcudart"), "tensorflow", "error"),
        (Toolkit(["CPU:0"], {}, "ImportError: undefined symbol"), "horovod", "error"),
        (Toolkit(["CPU:0"], {"gloo": False, "mpi": False, "nccl": False}), "horovod", "error"),
        (Toolkit(["CPU:0", "GPU:0"], {"gloo": True, "mpi": False, "nccl": False}), "horovod", "warning"),
        (Toolkit(["CPU:0", "GPU:0"], {"gloo": True, "mpi": False, "nccl": True}), "horovod", "ok"),
        (Toolkit(["CPU:0"], {"gloo": False, "mpi": True, "nccl": False}), "horovod", "error"),
    ],
)
def test_tensorflow_and_horovod_have_to_load_and_horovod_to_have_a_way_to_communicate(tools, check, level):
    line = one(replace(FACTS, driver=replace(HOST, toolkit=tools)), check, level)
    assert tools.problem is None or tools.problem in line


@pytest.mark.parametrize(("enabled", "text"), [(True, "oneDNN on"), (False, "oneDNN off")])
def test_the_kernels_that_tensorflow_computes_with_are_reported(enabled, text):
    line = one(replace(FACTS, driver=replace(HOST, toolkit=replace(TOOLS, onednn=enabled))), "tensorflow", "ok")
    assert text in line


def test_a_gpu_that_tensorflow_does_not_see_is_told_of():
    assert "GPU" in one(replace(FACTS, driver=replace(HOST, gpu=True)), "tensorflow", "warning")


@pytest.mark.parametrize(("cores", "memory_mb", "level"), [(2, 4000, "ok"), (1, 4000, "warning"), (2, 2000, "warning")])
def test_ranks_on_this_machine_need_its_cores_and_memory(cores, memory_mb, level):
    driver = replace(HOST, cores=cores, memory_mb=memory_mb)
    local = replace(FACTS, driver=driver, cluster=replace(FACTS.cluster, master="local[2]"))
    one(local, "machine", level)
    one(replace(FACTS, driver=driver), "machine", "ok")  # ranks are elsewhere


@given(st.booleans(), st.booleans(), st.booleans(), st.sampled_from([10, 5000]), st.sampled_from([None, "/data/v"]))
def test_the_datasets_folder_is_readable_and_before_an_ingest_writable_too(exists, readable, writable, free, version):
    facts = replace(
        FACTS,
        driver=replace(HOST, dataset=Folder("/data", exists, readable, writable, free)),
        version_path=version if exists and readable else None,
    )
    (finding,) = found(facts, "dataset")
    usable = (exists and readable and (writable or facts.version_path is not None)) or (not exists and writable)
    assert (finding.level != "error") == usable
    if usable and exists and (not writable or free < 1024):
        assert finding.level == "warning"


@pytest.mark.parametrize(
    ("writable", "free", "level"), [(True, 5000, "ok"), (True, 10, "warning"), (False, 5000, "error")]
)
def test_checkpoints_need_a_folder_to_write_to(writable, free, level):
    folder = Folder("/checkpoints", True, True, writable, free)
    assert "/checkpoints" in one(replace(FACTS, driver=replace(HOST, checkpoints=folder)), "checkpoints", level)


def test_a_store_that_does_not_answer_is_an_error_with_its_own_words():
    line = one(replace(FACTS, tracking_problem="tracking.uri 'x' does not answer; start it"), "tracking", "error")
    assert line.endswith("tracking.uri 'x' does not answer; start it")


def test_spark_that_does_not_start_is_an_error_and_its_executors_are_not_spoken_of():
    facts = replace(FACTS, cluster=Cluster("local[2]", None, problem="there is no java on PATH; install Java 17"))
    assert "install Java 17" in one(facts, "spark", "error")
    assert not found(facts, "executors")


@given(st.integers(0, 6), st.integers(0, 6), st.booleans(), st.integers(1, 6))
def test_every_rank_needs_a_slot_and_elastic_ones_the_fewest(slots, ranks, elastic, fewest):
    ranks = max(1, ranks) if elastic else ranks
    fewest = min(fewest, ranks) if elastic else 1
    config = Config(training=TrainingConfig(num_workers=ranks, elastic=elastic, min_workers=fewest))
    facts = replace(FACTS, cluster=replace(FACTS.cluster, slots=slots))
    enough = slots >= max(1, fewest if elastic else ranks)
    assert str(slots) in one(facts, "spark", "ok" if enough else "error", config)


def test_executors_that_do_not_answer_are_an_error():
    facts = replace(FACTS, cluster=replace(FACTS.cluster, hosts=(), problem="an executor cannot run; install it"))
    assert "cannot run; install it" in one(facts, "executors", "error")


def test_an_executor_with_other_versions_is_named_with_what_differs():
    facts = elsewhere(FACTS)
    other = replace(facts.cluster.hosts[1].machine, versions=MACHINE.versions | {"keras": None, "numpy": "2.0"})
    facts = replace(facts, cluster=replace(facts.cluster, hosts=(replace(HOST, machine=other),)))
    line = one(facts, "executors", "error")
    assert "host two has no keras (driver: 3.15.1);" in line
    assert "--archives" in line


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"toolkit": Toolkit(problem="ImportError: libssl.so.3")}, "libssl.so.3"),
        ({"toolkit": Toolkit(["CPU:0"], {"gloo": False, "mpi": True, "nccl": False})}, "another build of Horovod"),
        ({"dataset": Folder("/data", False, True, True, 50_000)}, "does not see /data"),
        ({"dataset": Folder("/data", True, True, False, 50_000)}, "does not see /data"),
        ({"checkpoints": Folder("/checkpoints", False, True, False, 50_000)}, "cannot write to /checkpoints"),
    ],
)
def test_what_is_wrong_on_an_executor_is_one_line_with_its_name(changed, said):
    line = one(elsewhere(FACTS, **changed), "executors", "error")
    assert "host two" in line
    assert said in line


def test_an_executor_that_does_not_see_the_version_is_told_of_as_jobs_do():
    blind = dataclasses.replace(MACHINE, host="two", manifest=None, unreadable="No such file or directory")
    facts = replace(FACTS, cluster=replace(FACTS.cluster, hosts=(replace(HOST, machine=blind),)))
    assert "host two cannot read /data/digits/v/manifest.json (No such file" in one(facts, "executors", "error")


def test_a_host_that_others_cannot_reach_by_its_name_is_an_error():
    hosts = tuple(
        replace(HOST, machine=replace(MACHINE, host=name, network=name, address=address))
        for name, address in (("one", "10.0.0.1"), ("two", "127.0.1.1"))
    )
    line = one(replace(FACTS, cluster=replace(FACTS.cluster, hosts=hosts)), "executors", "error")
    assert "host two's own name resolves to 127.0.1.1" in line
    assert "/etc/hosts" in line


def test_an_executor_that_does_not_reach_the_driver_is_an_error():
    line = one(
        elsewhere(FACTS, machine=replace(MACHINE, host="two", unreached="the driver at 10.0.0.1:4242 (timed out)")),
        "executors",
        "error",
    )
    assert "host two cannot reach the driver at 10.0.0.1:4242 (timed out)" in line
    assert "spark.driver.host" in line


def test_executors_of_one_host_are_told_of_once():
    facts = replace(FACTS, cluster=replace(FACTS.cluster, hosts=(replace(HOST, toolkit=Toolkit(problem="x")),) * 3))
    one(facts, "executors", "error")


def test_a_row_begins_with_the_level_and_ends_with_the_fix():
    row = Finding("java", "error", "there is none", "install it").cells()
    assert row == ("error", "java", "there is none; install it")


def test_an_object_store_has_no_free_space():
    store = Folder("s3://bucket/x", True, True, True, 1 << 40)
    assert check_dataset(store, None).text.endswith("ingest creates it; an object store")
    assert check_checkpoints(store).text == "s3://bucket/x; an object store"
    assert check_checkpoints(replace(store, writable=False)).level == "error"
