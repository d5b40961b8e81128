"""conf/spark: files that spark-submit takes, which agree with each other."""

from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "conf" / "spark").glob("*.conf"))


def properties(path):
    lines = [line.split(None, 1) for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert all(len(line) == 2 for line in lines), lines
    assert len({name for name, _ in lines}) == len(lines), "a property stands there twice"
    return {name: value.strip() for name, value in lines}


def test_there_is_one_for_each_kind_of_cluster_and_for_gpus():
    kinds = ("kubernetes", "standalone", "yarn")
    assert {path.stem for path in FILES} == {f"{kind}{suffix}" for kind in kinds for suffix in ("", "-gpu")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_gives_each_rank_an_executor_that_stays(path):
    found = properties(path)
    assert all(name.startswith("spark.") for name in found)
    assert found["spark.task.cpus"] == found["spark.executor.cores"]
    assert found["spark.dynamicAllocation.enabled"] == found["spark.speculation"] == "false"
    gpus = {name: found.get(f"spark.{name}.resource.gpu.amount") for name in ("executor", "task")}
    assert set(gpus.values()) == ({"1"} if path.stem.endswith("-gpu") else {None})
    assert ("Tried by" in path.read_text()) == (path.stem == "standalone")
    assert ("Not tried yet" in path.read_text()) == (path.stem != "standalone")
