"""What ``scoring.input`` may name, and when nothing is published."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convoy.config import Config, ScoringConfig
from convoy.errors import ConfigError, ModelError, SourceError
from convoy.inference.sinks.folder import write_parquet
from convoy.inference.sources import check_input, score_input
from tests.conftest import encoded, noise
from tests.inference.packages import package, signals, truth

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def images():
    return noise(6, 8, 6, 3)


@pytest.fixture
def folder(tmp_path, images):
    """Six images in two folders, and a file that is none, hidden."""
    for i, image in enumerate(images):
        (tmp_path / "in [1]" / f"{i % 2}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "in [1]" / f"{i % 2}" / f"{i}.png").write_bytes(encoded(image))
    (tmp_path / "in [1]" / ".hidden").write_bytes(b"x")
    return tmp_path / "in [1]"


def scored(spark, given, model=None, **fields):
    config = Config(scoring=ScoringConfig(input=str(given), **fields))
    check_input(config)
    return score_input(spark, config, model or package())


def test_a_folder_and_globs(spark, folder, images):
    rows = sorted(scored(spark, folder).collect(), key=lambda row: row["path"][-5])
    np.testing.assert_allclose([row["probability"] for row in rows], truth(images).max(1), atol=1e-5)
    assert {row["path"] for row in rows} == {str(folder / f"{i % 2}" / f"{i}.png") for i in range(6)}
    pattern = str(folder).replace("[", "[[]")
    assert scored(spark, f"{pattern}/0/*.png").count() == 3
    assert scored(spark, f"{pattern}/**/*.png").count() == 6


def test_parquet_files_and_tables(spark, tmp_path, images):
    contents = [encoded(image) for image in images]
    table = pa.table({"key": range(6), "photo": contents, "beside": ["x"] * 6})
    (tmp_path / "t [1]").mkdir()
    pq.write_table(table, tmp_path / "t [1]" / "part.parquet")
    for given in (tmp_path / "t [1]", tmp_path / "t [1]" / "part.parquet", f"{tmp_path}/t*/*.parquet"):
        found = scored(spark, given, image_column="photo", columns=["key"], probabilities=True).orderBy("key").collect()
        np.testing.assert_allclose([row["probabilities"] for row in found], truth(images), atol=1e-5)
    spark.read.parquet(f"file:{tmp_path}/t*").createOrReplaceTempView("photos")
    assert scored(spark, "table:photos", image_column="photo").columns[:3] == ["key", "photo", "beside"]
    with pytest.raises(ConfigError, match="none of the columns is content"):
        scored(spark, "table:photos")
    with pytest.raises(SourceError, match=r"scoring\.input 'table:fotos' cannot be read"):
        scored(spark, "table:fotos")


@pytest.mark.parametrize(("before", "then"), [(None, "32"), ("4096", "32"), ("7", "7")], ids=str)
def test_few_large_images_of_a_file_are_in_the_jvm_at_once_unless_the_user_says_how_many(
    spark, tmp_path, images, before, then
):
    name = "spark.sql.parquet.columnarReaderBatchSize"
    pq.write_table(pa.table({"content": [encoded(image) for image in images]}), tmp_path / "t.parquet")
    try:
        spark.conf.unset(name) if before is None else spark.conf.set(name, before)
        scored(spark, tmp_path / "t.parquet")
        assert spark.conf.get(name) == then
    finally:
        spark.conf.unset(name)


def test_what_is_not_there_is_said_before_spark_does_anything(tmp_path):
    (tmp_path / "empty").mkdir()
    for given, said in (
        (None, "scoring.input is missing"),
        ("nowhere", "'nowhere' is not a folder"),
        ("nowhere/*.png", "matches nothing"),
        (str(tmp_path / "empty"), "has no files"),
        ("table:", "expected table:<name>"),
        ("dataset:", "expected dataset:train"),
        ("nowhere.parquet", "does not exist"),
    ):
        with pytest.raises((ConfigError, SourceError), match=said):
            check_input(Config(scoring=ScoringConfig(input=given)))


def test_files_for_a_model_that_takes_arrays(spark, folder):
    with pytest.raises(ModelError, match=r"takes arrays, float32 \(12,\), but scoring.input"):
        scored(spark, folder, signals())


@pytest.mark.long
def test_too_many_errors_publish_nothing_and_the_old_result_stays(spark, folder, tmp_path):
    target = tmp_path / "out"
    written = write_parquet(scored(spark, folder), target, 0.5)
    assert (written.rows, written.errors) == (6, 0)
    old = sorted(path.name for path in target.iterdir())
    for i in range(7):
        (folder / f"bad{i}").write_bytes(b"")
    with pytest.raises(SourceError, match=r"7 of 13 rows cannot be scored, more than scoring.max_error_fraction 0.5"):
        write_parquet(scored(spark, folder), target, 0.5)
    assert sorted(path.name for path in target.iterdir()) == old
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")] == []
    written = write_parquet(scored(spark, folder), target, 0.6)
    assert (written.rows, written.errors) == (13, 7)
