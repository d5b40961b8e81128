"""Codecs, leakage and duplicates, with real Spark."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from convoy.config import DatasetConfig, ImageConfig, SourceConfig, StorageConfig
from convoy.dataset.ingest.build import Ingested, ingest
from convoy.dataset.reading.examples import read_split
from convoy.dataset.sources import source_of
from convoy.dataset.storage.verify import verify
from convoy.errors import SourceError
from convoy.images import Geometry, prepare
from tests.dataset.ingest.test_ingest import members, petastorm_rows
from tests.spark_support import write_images

pytestmark = [pytest.mark.spark, pytest.mark.long]


def run_ingest(spark, folder: Path, root: Path, image: ImageConfig, **settings) -> Ingested:
    config = DatasetConfig(root=str(root), name="pictures", image=image, **settings)
    return ingest(spark, source_of(SourceConfig("folder", str(folder))), config, lambda *_: None)


@pytest.mark.parametrize(
    ("channels", "codec"),
    [
        *[(1, "png"), (3, "jpeg"), (3, "keep")],
        *[pytest.param(*case, marks=pytest.mark.long) for case in ((3, "png"), (1, "jpeg"), (1, "keep"))],
    ],
)
def test_every_codec_is_read_by_petastorm_and_by_our_reader_alike(spark, tmp_path, codec, channels):
    shape = (16, 24, 3) if channels == 3 else (16, 24)
    write_images(tmp_path / "images", {"a": 30}, shape, "PNG")
    write_images(tmp_path / "images", {"b": 30}, shape, "JPEG")
    write_images(tmp_path / "images", {"b": 5}, (20, 20), "BMP", seed=3)  # of another size: never kept as it is
    image = ImageConfig(height=16, width=24, channels=channels, resize="stretch")
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data", image, storage=StorageConfig(codec=codec))
    geometry = Geometry(16, 24, channels, "stretch")
    for split in result.manifest.splits:
        data = read_split(result.path, result.manifest, split)
        rows = petastorm_rows(result.path, split)
        assert len(rows) == len(data)
        for row, pixels, label in zip(rows, data.images, data.labels, strict=True):
            assert (np.reshape(row.image, pixels.shape) == pixels).all()
            assert row.label == label
            if codec != "jpeg":  # lossless: what is stored is what prepare gives
                assert (pixels == prepare((tmp_path / "images" / row.path).read_bytes(), geometry)).all()


def test_keep_stores_the_original_bytes_where_they_fit(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 20}, (8, 8, 3), "JPEG")
    write_images(tmp_path / "images", {"b": 20}, (9, 9, 3), "JPEG")
    image = ImageConfig(height=8, width=8, channels=3, resize="stretch")
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data", image, storage=StorageConfig(codec="keep"))
    table = pq.read_table(result.path / "train", columns=["image", "path"])
    kept = [
        value == (tmp_path / "images" / path).read_bytes()
        for value, path in zip(table["image"].to_pylist(), table["path"].to_pylist(), strict=True)
    ]
    assert kept == [path.startswith("a/") for path in table["path"].to_pylist()]


def leaky(folder: Path) -> None:
    """Three images in both splits, and one copy within training."""
    write_images(folder / "train", {"a": 30, "b": 30}, (8, 8))
    write_images(folder / "test", {"a": 10, "b": 10}, (8, 8), seed=5)
    for i in range(3):
        (folder / "test" / "a" / f"copy{i}.png").write_bytes((folder / "train" / "a" / f"0-{i}.png").read_bytes())
    (folder / "train" / "b" / "again.png").write_bytes((folder / "train" / "b" / "0-9.png").read_bytes())


GREY = ImageConfig(height=8, width=8, channels=1, resize="none")


def test_leakage_and_duplicates_are_counted_and_told(spark, tmp_path, capsys):
    leaky(tmp_path / "images")
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data", GREY)
    duplicates = result.manifest.duplicates
    assert (duplicates.copies, duplicates.across_splits, duplicates.across_classes) == (4, 3, 0)
    assert sum(result.manifest.rows().values()) == 84
    told = capsys.readouterr().err
    assert "warning: images in more than one split: 3; see dataset.on_leakage\n" in told


@pytest.mark.parametrize("on_leakage", ["drop", "fail"])
def test_empty_files_are_no_copies_of_each_other(spark, tmp_path, on_leakage):
    write_images(tmp_path / "images" / "train", {"a": 20, "b": 20}, (8, 8))
    write_images(tmp_path / "images" / "test", {"a": 5, "b": 5}, (8, 8), seed=5)
    empty = ["train/a/1.png", "train/b/2.png", "test/a/3.png"]
    for name in empty:
        (tmp_path / "images" / name).write_bytes(b"")
    result = run_ingest(
        spark, tmp_path / "images", tmp_path / "data", GREY, on_leakage=on_leakage, max_bad_fraction=0.1
    )
    quarantined = pq.read_table(result.path / "quarantine").to_pylist()
    assert sorted((row["path"], row["reason"]) for row in quarantined) == sorted((name, "empty") for name in empty)
    assert result.manifest.duplicates.copies == 0


def test_leaked_images_can_be_dropped_from_training_but_not_from_the_test(spark, tmp_path):
    leaky(tmp_path / "images")
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data", GREY, on_leakage="drop")
    rows = result.manifest.rows()
    assert rows["test"] == 23
    assert rows["train"] + rows["validation"] == 58
    gone = {"train/a/0-0.png", "train/a/0-1.png", "train/a/0-2.png"}
    assert not gone & members(result).keys()


def test_leakage_can_stop_the_job(spark, tmp_path):
    leaky(tmp_path / "images")
    with pytest.raises(
        SourceError, match=r"3 images occur in more than one split, e\.g\. 'test/.*set dataset\.on_leak"
    ):
        run_ingest(spark, tmp_path / "images", tmp_path / "data", GREY, on_leakage="fail")
    assert not (tmp_path / "data").exists()


def test_a_copy_is_never_on_both_sides_of_a_carved_split(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 60, "b": 60}, (8, 8))
    for i in range(60):
        copy = tmp_path / "images" / "a" / f"copy{i}.png"
        copy.write_bytes((tmp_path / "images" / "a" / f"0-{i}.png").read_bytes())
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data", GREY)
    assert result.manifest.duplicates.copies == 60
    assert result.manifest.duplicates.across_splits == 0


def test_the_version_has_pictures_and_size_statistics(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 20}, (8, 8))
    write_images(tmp_path / "images", {"b": 10}, (30, 20))
    image = ImageConfig(height=8, width=8, channels=1, resize="letterbox")
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data", image)
    assert result.manifest.sizes.frequent == [[8, 8, 20], [30, 20, 10]]
    for name in ("samples", "classes", "sizes"):
        with Image.open(result.path / "pictures" / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5  # not an empty sheet


def test_auto_geometry_is_proposed_and_told(spark, tmp_path, capsys):
    write_images(tmp_path / "images", {"a": 20, "b": 20}, (40, 60, 3))
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data", ImageConfig(resize="auto"))
    assert result.manifest.image.shape == (40, 60, 3)
    assert result.manifest.image.resize == "none"
    assert "every one is 40x60" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["a file is gone", "the manifest is broken"])
def test_a_damaged_version_is_written_again(spark, tmp_path, damage):
    write_images(tmp_path / "images", {"a": 30, "b": 30}, (8, 8))
    first = run_ingest(spark, tmp_path / "images", tmp_path / "data", GREY)
    if damage == "a file is gone":
        (first.path / "train" / first.manifest.splits["train"].files[0].name).unlink()
    else:
        (first.path / "manifest.json").write_text("{")
    again = run_ingest(spark, tmp_path / "images", tmp_path / "data", GREY)
    assert not again.existed
    assert again.manifest.splits == first.manifest.splits
    assert verify(again.path) == []


def test_a_damaged_version_stays_when_it_cannot_be_written_again(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 30, "b": 30}, (8, 8))
    (tmp_path / "images" / "a" / "broken.png").write_text("no image")
    first = run_ingest(spark, tmp_path / "images", tmp_path / "data", GREY, max_bad_fraction=0.5)
    (first.path / "train" / first.manifest.splits["train"].files[0].name).unlink()
    with pytest.raises(SourceError, match="1 of 61 files cannot be used"):
        run_ingest(spark, tmp_path / "images", tmp_path / "data", GREY, max_bad_fraction=0.0)
    assert (first.path / "manifest.json").exists()
    assert (first.path / "validation").is_dir()


def test_one_class_is_refused(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 30}, (8, 8))
    with pytest.raises(SourceError, match="there is one class, 'a'"):
        run_ingest(spark, tmp_path / "images", tmp_path / "data", GREY)


def test_training_images_that_are_all_broken_are_refused(spark, tmp_path):
    write_images(tmp_path / "images" / "val", {"a": 5, "b": 5}, (8, 8))
    for name in ("a", "b"):
        (tmp_path / "images" / "train" / name).mkdir(parents=True)
        (tmp_path / "images" / "train" / name / "x.png").write_text("no image")
    with pytest.raises(SourceError, match="no training image can be read"):
        run_ingest(spark, tmp_path / "images", tmp_path / "data", GREY, max_bad_fraction=1.0)


def test_images_in_the_rows_of_a_table_are_ingested_once_each_however_often_they_are_listed(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 20, "b": 20}, (8, 8))
    files = sorted((tmp_path / "images").glob("*/*.png"))
    rows = [(file.parent.name, file.name, file.read_bytes()) for file in files]
    table = spark.createDataFrame([*rows, rows[0]], "label string, path string, content binary")
    table.write.parquet(f"file://{tmp_path}/table")
    source = source_of(SourceConfig("table", str(tmp_path / "table")))
    config = DatasetConfig(root=str(tmp_path / "data"), name="pictures", image=GREY)
    records = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
    result = ingest(spark, source, config, lambda *_: None)
    assert spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch") == records
    assert sum(result.manifest.rows().values()) == 41
    assert result.manifest.duplicates.copies == 1
    assert verify(result.path) == []
