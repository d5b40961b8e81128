"""Of a folder in which 60 files were damaged in six ways, those 60 are quarantined, each with its reason."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter

import pyarrow.parquet as pq
import pytest

from convoy.config import DatasetConfig, ImageConfig, SourceConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.sources import source_of
from convoy.dataset.storage.verify import verify
from tests.dataset import damage
from tests.dataset.ingest.test_ingest import members
from tests.spark_support import write_images

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """330 small images of five classes: JPEGs, and PNGs among them."""
    folder = tmp_path_factory.mktemp("images")
    counts = {"airplane": 100, "cat": 60, "deer": 50, "ship": 40, "truck": 30}
    write_images(folder / "train", counts, (12, 10, 3), "JPEG")
    write_images(folder / "test", dict.fromkeys(counts, 10), (12, 10, 3), "PNG", seed=1)
    return folder


@pytest.mark.spark
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_exactly_the_damaged_files_are_quarantined_each_with_its_reason(spark, images, tmp_path, seed):
    shutil.copytree(images, tmp_path / "images")
    expected = damage.damage(tmp_path / "images", 60, seed)
    assert Counter(expected.values()) == dict.fromkeys(damage.REASONS, 10)
    config = DatasetConfig(root=str(tmp_path / "data"), image=ImageConfig(12, 10, 3, "none"), max_bad_fraction=60 / 330)
    result = ingest(spark, source_of(SourceConfig("folder", str(tmp_path / "images"))), config, lambda *_: None)
    quarantined = pq.read_table(result.path / "quarantine").to_pylist()
    assert {row["path"]: row["reason"] for row in quarantined} == expected
    assert len(quarantined) == result.manifest.quarantined == 60
    assert all(row["detail"] for row in quarantined)
    everything = {str(path.relative_to(images)) for path in images.rglob("*.*")}
    assert members(result).keys() == everything - expected.keys()
    assert verify(result.path) == []


def test_damage_is_a_function_of_the_seed_and_leaves_originals_alone(images, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(images, tmp_path / name, copy_function=os.link)  # hard links, by who has little room
    before = {path: path.read_bytes() for path in images.rglob("*.*")}
    command = [sys.executable, damage.__file__, str(tmp_path / "a"), "--seed", "3", "--count", "12"]
    printed = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=1200).stdout)
    assert damage.damage(tmp_path / "b", 12, 3) == printed
    assert len(printed) == 12
    assert {path: path.read_bytes() for path in images.rglob("*.*")} == before
