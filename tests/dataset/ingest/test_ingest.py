"""Ingest with real Spark, read back with Petastorm's own reader."""

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from convoy.config import DatasetConfig, ImageConfig, SourceConfig
from convoy.dataset.ingest.build import Ingested, ingest
from convoy.dataset.reading.examples import read_split
from convoy.dataset.sources import source_of
from convoy.dataset.storage import catalog
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ConfigError, DatasetError, SourceError
from convoy.images import Geometry, brightness, prepare, quantile_bins
from tests.spark_support import write_images

pytestmark = pytest.mark.spark

GREY = ImageConfig(height=6, width=5, channels=1, resize="none")


def run_ingest(spark: SparkSession, folder: Path, root: Path, **settings) -> Ingested:
    options = {"image": GREY, "max_bad_fraction": 0.0, **settings}
    config = DatasetConfig(root=str(root), name="pictures", **options)
    return ingest(spark, source_of(SourceConfig("folder", str(folder))), config, lambda *_: None)


def petastorm_rows(path: Path, split: str) -> list:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from petastorm import make_reader

        with make_reader(f"file://{path / split}", reader_pool_type="dummy", shuffle_row_groups=False) as reader:
            return list(reader)


def members(result: Ingested) -> dict[str, str]:
    """Sample -> split."""
    return {
        path: split
        for split in result.manifest.splits
        for path in pq.read_table(result.path / split, columns=["path"]).column("path").to_pylist()
    }


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_petastorm_reads_back_the_very_pixels_of_every_file(spark, tmp_path, kind):
    write_images(tmp_path / "images", {"cat": 40, "dog": 30}, (6, 5, 3), kind)
    image = ImageConfig(height=6, width=5, channels=3, resize="none")
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data", image=image)
    geometry = Geometry(6, 5, 3, "none")
    seen = set()
    for split, entry in result.manifest.splits.items():
        rows = petastorm_rows(result.path, split)
        assert len(rows) == entry.rows
        for row in rows:
            source = (tmp_path / "images" / row.path).read_bytes()
            assert (row.image == prepare(source, geometry)).all()
            assert result.manifest.classes[row.label] == row.path.split("/")[0]
            seen.add(row.path)
    assert seen == {str(p.relative_to(tmp_path / "images")) for p in (tmp_path / "images").rglob("*.*")}


def test_the_fast_reader_returns_what_petastorm_returns(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 50, "b": 50})
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data")
    for split in result.manifest.splits:
        data = read_split(result.path, result.manifest, split)
        rows = petastorm_rows(result.path, split)
        assert (data.images == np.stack([row.image for row in rows])).all()
        assert (data.labels == [row.label for row in rows]).all()


def test_manifest_counts_and_statistics_are_exact(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 120, "b": 60})
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data", test_fraction=0.2)
    manifest = Manifest.load(result.path)
    assert manifest.classes == ["a", "b"]
    assert sum(manifest.rows().values()) == 180
    assert set(manifest.splits) == {"train", "validation", "test"}
    assert sum(split.per_class["a"] for split in manifest.splits.values()) == 120
    train = read_split(result.path, manifest, "train").images
    np.testing.assert_allclose(manifest.pixel_mean, train.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(manifest.pixel_std, train.std(axis=(0, 1, 2)), rtol=1e-12)
    profile = manifest.profile
    assert profile.brightness.counts == profile.brightness.count(brightness(train)).tolist()
    assert (profile.height, profile.width) == (quantile_bins({6: len(train)}), quantile_bins({5: len(train)}))


def test_given_splits_are_kept_and_only_validation_is_carved_out_of_training(spark, tmp_path):
    write_images(tmp_path / "images" / "train", {"a": 100, "b": 100})
    write_images(tmp_path / "images" / "Test", {"a": 20, "b": 20}, seed=1)
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data")
    rows = result.manifest.rows()
    assert rows["test"] == 40
    assert rows["train"] + rows["validation"] == 200
    assert 5 <= rows["validation"] <= 40
    for path, split in members(result).items():
        assert path.startswith("Test/") == (split == "test")


def test_the_same_images_give_the_same_version_and_files_and_are_not_written_again(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 40, "b": 40})
    first = run_ingest(spark, tmp_path / "images", tmp_path / "data")
    again = run_ingest(spark, tmp_path / "images", tmp_path / "data")
    assert again.existed
    assert not first.existed
    shutil.copytree(tmp_path / "images", tmp_path / "copy")
    elsewhere = run_ingest(spark, tmp_path / "copy", tmp_path / "other")
    assert elsewhere.manifest.version == first.manifest.version == again.manifest.version
    assert elsewhere.manifest.splits == first.manifest.splits  # checksums of the files included


def test_added_images_make_a_new_version_and_no_earlier_one_changes_its_split(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 80, "b": 80})
    before = run_ingest(spark, tmp_path / "images", tmp_path / "data")
    write_images(tmp_path / "images", {"a": 50, "b": 50}, seed=7)
    after = run_ingest(spark, tmp_path / "images", tmp_path / "data")
    assert after.manifest.version != before.manifest.version
    assert members(before).items() <= members(after).items()
    assert catalog.find(str(tmp_path / "data"), "pictures", "latest") == after.path


@pytest.mark.long
def test_other_settings_make_another_version(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 30, "b": 30})
    first = run_ingest(spark, tmp_path / "images", tmp_path / "data")
    larger = ImageConfig(height=8, width=8, channels=1, resize="stretch")
    second = run_ingest(spark, tmp_path / "images", tmp_path / "data", image=larger)
    assert first.manifest.version != second.manifest.version
    other_splits = run_ingest(spark, tmp_path / "images", tmp_path / "data", validation_fraction=0.4)
    assert other_splits.manifest.version not in (first.manifest.version, second.manifest.version)


def test_a_broken_file_goes_to_quarantine_and_the_rest_goes_on(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 50, "b": 50})
    (tmp_path / "images" / "a" / "notes.png").write_text("not an image")
    (tmp_path / "images" / "b" / "empty.png").write_bytes(b"")
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data", max_bad_fraction=0.05)
    assert result.manifest.quarantined == 2
    assert sum(result.manifest.rows().values()) == 100
    quarantined = pq.read_table(result.path / "quarantine").to_pylist()
    assert {row["path"]: row["reason"] for row in quarantined} == {
        "a/notes.png": "not_an_image",
        "b/empty.png": "empty",
    }


def test_too_many_broken_files_stop_the_job_and_nothing_is_published(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 20, "b": 20})
    for i in range(3):
        (tmp_path / "images" / "a" / f"broken{i}.png").write_text("no")
    with pytest.raises(SourceError, match=r"3 of 43 files cannot be used \(not_an_image: 3\)"):
        run_ingest(spark, tmp_path / "images", tmp_path / "data", max_bad_fraction=0.05)
    assert list((tmp_path / "data" / "pictures").iterdir()) == []
    with pytest.raises(DatasetError):
        catalog.find(str(tmp_path / "data"), "pictures", "latest")


def test_a_class_without_a_readable_image_is_named(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 20})
    (tmp_path / "images" / "ghost").mkdir()
    (tmp_path / "images" / "ghost" / "x.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(SourceError, match="class 'ghost' has no readable image"):
        run_ingest(spark, tmp_path / "images", tmp_path / "data", max_bad_fraction=1.0)
    assert list((tmp_path / "data" / "pictures").iterdir()) == []


def test_odd_file_names_survive(spark, tmp_path):
    write_images(tmp_path / "images", {"a b": 10, "ü'\"": 10})
    odd = tmp_path / "images" / "a b" / "new\nline é.png"
    (tmp_path / "images" / "a b" / "0-0.png").rename(odd)
    with open(os.fsencode(tmp_path / "images" / "a b") + b"/caf\xe9.png", "wb") as latin1:
        latin1.write(odd.read_bytes())
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data", max_bad_fraction=0.1)
    assert "a b/new\nline é.png" in members(result)
    assert len(members(result)) == 20
    [bad] = pq.read_table(result.path / "quarantine").to_pylist()
    assert (bad["path"], bad["reason"]) == ("a b/caf\ufffd.png", "unreadable")  # no UTF-8: it cannot be stored


def test_images_of_other_sizes_are_resized_or_refused_as_asked(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 20, "b": 20}, (12, 9))
    image = ImageConfig(height=6, width=5, channels=1, resize="letterbox")
    manifest = run_ingest(spark, tmp_path / "images", tmp_path / "data", image=image).manifest
    assert manifest.image.shape == (6, 5, 1)
    assert manifest.profile.height.edges == [11, 12]  # as they came
    with pytest.raises(SourceError, match=r"no readable image \(size: 20\)"):
        run_ingest(spark, tmp_path / "images", tmp_path / "other", image=GREY)


def test_row_groups_are_class_mixed(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 400, "b": 400}, (2, 2))
    image = ImageConfig(height=2, width=2, channels=1, resize="none")
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data", image=image)
    entry = result.manifest.splits["train"]
    assert len(entry.files) * len(entry.files[0].row_groups) >= 2
    for file in entry.files:
        parquet = pq.ParquetFile(result.path / "train" / file.name)
        for group in range(parquet.num_row_groups):
            share = np.mean(parquet.read_row_group(group, columns=["label"]).column("label").to_numpy())
            assert 0.3 < share < 0.7


@pytest.mark.long
def test_classes_are_made_rarer_in_the_training_split_alone(spark, tmp_path):
    write_images(tmp_path / "images", {"0": 200, "rare": 200})
    options = {"validation_fraction": 0.2, "test_fraction": 0.2}
    whole = run_ingest(spark, tmp_path / "images", tmp_path / "data", **options)
    thin = run_ingest(spark, tmp_path / "images", tmp_path / "data", **options, class_fractions={"rare": 0.1})
    assert thin.manifest.version != whole.manifest.version
    assert run_ingest(spark, tmp_path / "images", tmp_path / "data", **options, class_fractions={"rare": 0.1}).existed
    before, after = members(whole), members(thin)
    assert after.items() < before.items()
    gone = before.keys() - after.keys()
    assert all("rare" in path and before[path] == "train" for path in gone)
    per_class = thin.manifest.splits["train"].per_class
    assert per_class["0"] == whole.manifest.splits["train"].per_class["0"]
    assert 4 <= per_class["rare"] <= 22  # a tenth of about 120
    assert thin.manifest.class_weights["rare"] > 4 * thin.manifest.class_weights["0"]
    assert thin.manifest.settings["class_fractions"] == {"rare": 0.1}


def test_a_share_of_a_class_that_is_not_there_is_refused(spark, tmp_path):
    write_images(tmp_path / "images", {"cat": 3, "dog": 3})
    with pytest.raises(ConfigError, match=r"'dgo', which is not a class of the source; did you mean 'dog'\?"):
        run_ingest(spark, tmp_path / "images", tmp_path / "data", class_fractions={"dgo": 0.5})
