"""Scores in an object store: published whole, completed after a kill, added to and compared."""

import json
import os

import pyarrow as pa
import pytest

from convoy.config import Config, ScoringConfig
from convoy.dataset.storage.object_path import ObjectPath
from convoy.errors import ConfigError, SourceError
from convoy.inference.sinks import object_folder
from convoy.inference.sinks.folder import output_folder
from convoy.inference.sinks.object_folder import write_part
from convoy.inference.sinks.result import OURS
from convoy.inference.sinks.write import check_output, score_to_output
from tests.inference.packages import package
from tests.spark_support import write_images


@pytest.fixture
def target(s3):
    return ObjectPath(f"{s3}/scores")


def part(value, errors=()):
    """A batch of three rows, as the tasks write them."""
    columns = {name: [f"{name} {value}"] * 3 for name in sorted(OURS)}
    return pa.RecordBatch.from_pydict({**columns, "error": pa.array([*errors, None, None, None][:3], pa.string())})


def publish(target, value, *, keep=False, expected=None, died_at=None, monkeypatch=None):
    """Write one file and publish it; ``died_at`` ends the job after that many changes of the result."""
    with object_folder._staging(target) as staged:
        [report] = write_part([part(value)], staged)
        files = frozenset(report.to_pydict()["file"])
        return object_folder._publish(staged, target, files, keep=keep, expected=expected), files


def test_files_are_added_or_replaced(target):
    output_folder(str(target))
    assert object_folder.names(target) == frozenset()
    done, first = publish(target, 1)
    assert done
    assert object_folder.names(target) == {"_SUCCESS", *first}
    _, second = publish(target, 2, keep=True)
    assert object_folder.names(target) == {"_SUCCESS", *first, *second}
    before = object_folder.names(target)
    assert output_folder(str(target)) == target
    _, third = publish(target, 3)
    assert [path.name for path in target.iterdir()] == ["_SUCCESS", *third]
    assert publish(target, 4, keep=True, expected=before)[0] is False
    assert [path.name for path in target.iterdir()] == ["_SUCCESS", *third]


def test_a_partition_without_rows_has_no_file(target):
    assert list(write_part([part(1).slice(0, 0)], target)) == []
    assert target.files() == []
    [report] = write_part([part(1, ["dark"]), part(1).slice(0, 0), part(2, ["dark", "broken"])], target)
    [row] = report.to_pylist()
    assert (row["rows"], json.loads(row["errors"])) == (6, {"dark": 2, "broken": 1})
    assert [path.name for path, _ in target.files()] == [row["file"]]


def test_other_files_are_not_touched(target):
    (target / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        output_folder(str(target))
    (target / "notes.txt").unlink()
    publish(target, 1)
    (target / "_SUCCESS").unlink()
    with pytest.raises(ConfigError, match="holds other files"):
        output_folder(str(target))


def killed(target, step):
    """Replace the result in another process, that is killed before its nth change; return its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        changes = 0

        def counted(real):
            def call(self, *arguments, **options):
                nonlocal changes
                changes += 1
                if changes == step:
                    os._exit(9)
                return real(self, *arguments, **options)

            return call

        for name in ("write_bytes", "create", "unlink", "upload", "copy_to"):
            setattr(ObjectPath, name, counted(getattr(ObjectPath, name)))
        publish(target, 2)
    finally:
        os._exit(0)


@pytest.mark.long
@pytest.mark.parametrize("step", range(1, 13))
def test_a_job_that_is_killed_at_any_change_leaves_the_old_result_or_the_new_one(target, step):
    publish(target, 1)
    assert killed(target, step) in (0, 9)
    if (target / "_SUCCESS").is_file():
        complete = {path.name for path in target.glob("*.parquet")}
        assert len(complete) == 1 or json.loads((target / "_publishing").read_text())
    output_folder(str(target))
    left = [path.name for path in target.iterdir()]
    assert len(left) == 2
    assert left[0] == "_SUCCESS"
    assert left[1].endswith(".parquet")
    _, third = publish(target, 3)
    assert [path.name for path in target.iterdir()] == ["_SUCCESS", *third]


@pytest.mark.long
def test_the_files_of_a_job_that_lives_are_kept(target):
    with object_folder._staging(target) as staged:
        (staged / "part.parquet").write_bytes(b"1")
        output_folder(str(target))
        publish(target, 1)
        assert (staged / "part.parquet").is_file()
    assert {path.name for path in target.iterdir()} == object_folder.names(target)


@pytest.mark.long
def test_a_store_without_access_is_named(target, faulty):
    faulty.fault = lambda *_: (403, "AccessDenied")
    with pytest.raises(ConfigError, match=r"scoring.output 's3://.*' cannot be used: access to the store is denied"):
        output_folder(str(target))
    faulty.fault = lambda *_: None
    with pytest.raises(ConfigError, match="there is no such bucket"):
        output_folder("s3://no-such-bucket/scores")


def test_a_stream_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    with pytest.raises(ConfigError, match="a folder of a file system where scoring"):
        ScoringConfig(output="s3://bucket/scores", stream=True)


@pytest.mark.long
@pytest.mark.spark
def test_scores_in_s3_are_those_of_a_local_folder(spark, target, tmp_path):
    write_images(tmp_path / "in", {"a": 3, "b": 3})
    (tmp_path / "in" / "a" / "broken.png").write_bytes(b"no image")

    def score(output, mode="overwrite", **options):
        section = ScoringConfig(input=str(tmp_path / "in"), output=str(output), mode=mode, **options)
        check_output(section)
        return score_to_output(spark, Config(scoring=section), package())

    def values(rows):
        return sorted((row.path, row.prediction or "", row.probability or 0, row.error or "") for row in rows.collect())

    local = score(tmp_path / "out", probabilities=True, top_k=1)
    stored = score(target, probabilities=True, top_k=1)
    assert (stored.rows, stored.errors) == (local.rows, local.errors) == (7, 1)
    assert stored.added.schema == local.added.schema
    assert values(stored.added) == values(local.added)
    assert score(target, "append", probabilities=True, top_k=1).added.count() == 7
    assert object_folder.read_scores(spark, target).count() == 14
    assert score(target, "incremental", probabilities=True, top_k=1).rows == 0
    with pytest.raises(SourceError, match=r"1 of 7 rows cannot be scored.*nothing was published"):
        score(target, max_error_fraction=0.1)
    assert object_folder.read_scores(spark, target).count() == 14
    with pytest.raises(ConfigError, match="has other columns"):
        score(target, "append")
    again = score(target)
    assert again.added.count() == object_folder.read_scores(spark, target).count() == 7
    assert all(not path.name.startswith("_s") for path in target.iterdir())
