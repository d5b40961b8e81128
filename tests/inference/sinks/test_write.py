"""What the job adds to a result that is there already, in a real Spark."""

import os
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convoy.config import Config, DatasetConfig, ScoringConfig
from convoy.dataset.storage.manifest import NAME
from convoy.errors import ConfigError, SourceError
from convoy.images import ArraySpec
from convoy.inference.sinks import stream
from convoy.inference.sinks.folder import count, write_parquet
from convoy.inference.sinks.write import check_output, score_to_output
from convoy.inference.sources import check_input
from tests.conftest import encoded, noise
from tests.dataset.versions import write_arrays
from tests.inference.packages import CLASSES, package

pytestmark = [pytest.mark.spark, pytest.mark.long]


@pytest.fixture(autouse=True)
def no_grace(monkeypatch):
    monkeypatch.setattr("convoy.inference.sinks.publish._GRACE_SECONDS", 0.0)


@pytest.fixture
def folder(tmp_path):
    """Three images; the path has a space and signs that patterns have."""
    (tmp_path / "in [1] %20").mkdir()
    for i in range(3):
        add(tmp_path / "in [1] %20", f"{i}.png")
    return tmp_path / "in [1] %20"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out {1}" / "scores of all"


def add(folder, name, content=None):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(encoded(noise(8, 6, 3, seed=len(name))) if content is None else content)


def score(spark, given, target, model=None, dataset=None, **fields):
    config = Config(
        dataset=dataset or DatasetConfig(),
        scoring=ScoringConfig(input=str(given), output=str(target), **fields),
    )
    check_input(config)
    check_output(config.scoring)
    return score_to_output(spark, config, model or package())


def rows_of(target):
    return pq.read_table(target).to_pylist()


def newer():
    return replace(package(), uri="models:/animals/8")


def test_append_adds_all_rows_each_time_and_touches_no_file_that_is_there(spark, folder, target):
    score(spark, folder, target, mode="append")
    old = {path.name: path.stat().st_ino for path in target.iterdir() if path.suffix == ".parquet"}
    add(folder, "3.png")
    written = score(spark, folder, target, mode="append")
    assert (written.rows, written.errors) == (4, 0)
    assert sorted(row["path"][-5:] for row in written.added.collect()) == ["0.png", "1.png", "2.png", "3.png"]
    assert {name: (target / name).stat().st_ino for name in old} == old
    assert Counter(row["path"][-5:] for row in rows_of(target)) == {"0.png": 2, "1.png": 2, "2.png": 2, "3.png": 1}
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert score(spark, folder, target).rows == 4
    assert len(rows_of(target)) == 4


def test_incremental_scores_each_row_once_per_model_version(spark, folder, target, capsys):
    def run(model=None):
        return score(spark, folder, target, model, mode="incremental").rows

    assert run() == 3
    before = sorted(path.name for path in target.iterdir())
    assert run() == 0
    assert "nothing to score" in capsys.readouterr().err
    assert sorted(path.name for path in target.iterdir()) == before
    add(folder, "deeper/3.png")
    add(folder, "broken.png", b"no image")
    assert run() == 2
    assert run() == 0  # an error is an answer, too
    assert run(newer()) == 5
    assert run(newer()) == run() == 0
    found = Counter((row["model_version"], row["path"]) for row in rows_of(target))
    assert set(found.values()) == {1}
    assert Counter(version for version, _ in found) == {"models:/animals/7": 5, "models:/animals/8": 5}
    assert sum(row["error"] is not None for row in rows_of(target)) == 2


def test_one_broken_file_among_few_new_ones_is_seen_beside_all_that_were_scored(spark, folder, target):
    score(spark, folder, target, mode="incremental")
    add(folder, "broken.png", b"no image")
    with pytest.raises(SourceError, match=r"1 of 4 rows cannot be scored, more than scoring.max_error_fraction 0\.2"):
        score(spark, folder, target, mode="incremental", max_error_fraction=0.2)
    assert len(rows_of(target)) == 3
    assert score(spark, folder, target, mode="incremental", max_error_fraction=0.25).errors == 1
    assert score(spark, folder, target, mode="incremental", max_error_fraction=0.0).rows == 0


def write_table(path, keys, name="key"):
    images = [encoded(noise(8, 6, 3, seed=i)) for i in range(len(keys))]
    pq.write_table(pa.table({name: keys, "content": images}), path)
    return path


def test_rows_of_a_table_are_told_apart_by_a_key(spark, tmp_path, target):
    def run(keys, **fields):
        given = write_table(tmp_path / "in.parquet", keys)
        return score(spark, given, target, mode="incremental", columns=["key"], **fields).rows

    with pytest.raises(
        ConfigError, match=r"by the column 'path' \(scoring.key\), which the result does not have; name"
    ):
        run([1, 2])
    assert not target.exists()
    assert run([1, 2, 2, None], key="key") == 4
    assert run([1, 2, 2, None], key="key") == 0
    assert run([3, None, 1, 3], key="key") == 2
    assert sorted(str(row["key"]) for row in rows_of(target)) == ["1", "2", "2", "3", "3", "None"]
    with pytest.raises(ConfigError, match="by the column 'path'"):
        run([4])
    given = write_table(tmp_path / "in.parquet", ["a"], "path")
    with pytest.raises(ConfigError, match="the result does not have"):
        score(spark, given, tmp_path / "other", mode="incremental", columns=[])


def test_samples_of_a_dataset(spark, tmp_path, target):
    images = noise(7, 8, 6, 3)
    dataset = DatasetConfig(root=str(tmp_path), name="arrays")
    model = package(None, ArraySpec((8, 6, 3), "uint8"))

    def run(version, count, **fields):
        where = tmp_path / "arrays" / version
        manifest = write_arrays(where, "train", images[:count], np.zeros(count, np.int64))
        (where / NAME).write_text(replace(manifest, version=version, classes=CLASSES).dumps())
        return score(spark, "dataset:train", target, model, dataset, **fields).rows

    assert run("1", 5, mode="incremental") == 5
    assert run("2", 7, mode="incremental") == 2
    assert run("3", 7, mode="incremental") == 0
    found = {row["path"]: row["probability"] for row in rows_of(target)}
    assert len(found) == len(rows_of(target)) == 7
    assert run("4", 7) == 7
    # In batches of another size: the last bits of a probability may differ.
    assert {row["path"]: row["probability"] for row in rows_of(target)} == pytest.approx(found, abs=1e-5)


def test_other_columns_are_refused_before_anything_is_scored(spark, folder, target, monkeypatch):
    score(spark, folder, target, top_k=2)
    monkeypatch.setattr("convoy.inference.sinks.folder.count", lambda _: pytest.fail("it was scored"))
    with pytest.raises(
        ConfigError, match=r"has other columns: 'embedding' would be new, 'top_k' would be missing; give"
    ):
        score(spark, folder, target, mode="append", embeddings=True)


def test_a_result_that_another_job_has_changed_meanwhile(spark, target):
    target.mkdir(parents=True)
    pq.write_table(pa.table({"error": [None, "x"]}), target / "part-1.parquet")
    rows = spark.createDataFrame([("y",)], "error string").coalesce(1)
    with pytest.raises(SourceError, match="was changed by another job meanwhile, so nothing was added"):
        write_parquet(rows, target, add=True, expected=frozenset({"part-0.parquet"}))
    assert count(target) == (2, 1)
    written = write_parquet(rows, target, add=True, expected=frozenset({"part-1.parquet"}))
    assert (written.rows, written.errors) == (1, 1)
    assert count(target) == (3, 2)


def test_a_result_is_not_put_among_the_images(folder):
    for output in (folder, folder / "scores"):
        with pytest.raises(ConfigError, match=r"(is inside scoring.input|holds other files)"):
            check_output(ScoringConfig(input=str(folder), output=str(output)))


@pytest.fixture
def table(spark):
    """Name of a table; dropped in the end."""
    yield "scores_of_animals"
    spark.sql("DROP TABLE IF EXISTS scores_of_animals")


def test_a_table_of_the_catalog(spark, folder, table):
    def run(**fields):
        written = score(spark, folder, f"table:{table}", **fields)
        assert written.added.count() == written.rows
        return written.rows

    assert run(mode="incremental") == 3
    assert run(mode="incremental") == 0
    add(folder, "3.png")
    assert run(mode="incremental") == 1
    assert run(mode="append") == 4
    assert spark.table(table).count() == 8
    with pytest.raises(ConfigError, match="has other columns: 'top_k' would be new"):
        run(mode="append", top_k=2)
    assert run(top_k=2) == 4
    assert spark.table(table).columns[-1] == "top_k"
    for i in range(5):
        add(folder, f"broken{i}.png", b"no image")
    with pytest.raises(SourceError, match="5 of 9 rows cannot be scored"):
        run()
    assert spark.table(table).count() == 4


def test_a_table_that_cannot_be_written_to(spark, folder, table, tmp_path):
    for i in range(4):
        add(folder, f"broken{i}.png", b"no image")
    with pytest.raises(SourceError, match="4 of 7 rows cannot be scored"):
        score(spark, folder, f"table:{table}")
    assert not spark.catalog.tableExists(table)
    with pytest.raises(ConfigError, match=r"Spark does not have the format delta; it needs its jar"):
        score(spark, folder, f"table:{table}", format="delta")
    with pytest.raises(ConfigError, match=r"'table:no name' cannot be written to: .*(no name|PARSE)"):
        score(spark, folder, "table:no name")
    with pytest.raises(ConfigError, match="expected table:<name>"):
        score(spark, folder, "table:")
    assert not spark.catalog.tableExists(table)
    spark.createDataFrame([(1,)], "customer int").write.saveAsTable(table)
    with pytest.raises(ConfigError, match=r"is a table that holds something else \(customer\)"):
        score(spark, folder, f"table:{table}")
    assert spark.table(table).count() == 1


def test_a_stream_scores_each_file_once(spark, folder, target, monkeypatch, capsys):
    monkeypatch.setattr(stream, "FILES_PER_BATCH", 2)

    def run(**fields):
        written = score(spark, folder, target, stream=True, **fields)
        return written.rows, written.errors, written.added.count()

    assert run() == (3, 0, 3)
    assert capsys.readouterr().err.count("with an error") == 2  # batches
    assert run() == (0, 0, 0)
    assert "nothing to score" in capsys.readouterr().err
    add(folder, "deeper/old.png")
    add(folder, "deeper/broken.png", b"no image")
    os.utime(folder / "deeper" / "old.png", (1e9, 1e9))  # older by far than what was scored before it
    assert run() == (2, 1, 2)
    expected = sorted([*(str(folder / f"{i}.png") for i in range(3)), *map(str, folder.glob("deeper/*"))])
    assert sorted(row["path"] for row in rows_of(target)) == expected
    with pytest.raises(ConfigError, match="other columns: 'top_k' would be new"):
        run(top_k=2)
    assert score(spark, folder, target, mode="incremental").rows == 0  # the paths are those of the other modes


def test_a_stream_whose_output_or_checkpoint_is_gone(spark, folder, target):
    score(spark, folder, target, stream=True)
    checkpoint = stream.checkpoint_of(target)
    moved = checkpoint.rename(checkpoint.with_name("moved"))
    with pytest.raises(ConfigError, match="do not belong together"):
        score(spark, folder, target, stream=True)
    moved.rename(checkpoint)
    score(spark, folder, target)  # replaces the rows, and with them how far the stream has come
    with pytest.raises(ConfigError, match="do not belong together"):
        score(spark, folder, target, stream=True)
    shutil.rmtree(target)
    with pytest.raises(ConfigError, match="remove both to score all files again"):
        score(spark, folder, target, stream=True)


def test_a_stream_needs_a_folder_for_each(spark, tmp_path):
    with pytest.raises(ConfigError, match=r"scoring.mode is 'overwrite'; expected append where scoring.stream is set"):
        ScoringConfig(stream=True, mode="overwrite")
    with pytest.raises(ConfigError, match=r"scoring.output is 'table:x'; expected a folder"):
        ScoringConfig(stream=True, output="table:x")
    with pytest.raises(ConfigError, match=r"scoring.stream_interval is 0; expected more than 0"):
        ScoringConfig(stream=True, stream_interval=0)
    with pytest.raises(SourceError, match=r"'dataset:test' is not a folder; scoring.stream needs one"):
        check_input(Config(scoring=ScoringConfig(stream=True, input="dataset:test")))
    (tmp_path / "empty").mkdir()
    assert score(spark, tmp_path / "empty", tmp_path / "out", stream=True).rows == 0
