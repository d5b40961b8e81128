"""What a folder may hold: odd images, which are stored, and what is none, which is quarantined; the job goes on."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from convoy.config import DatasetConfig, ImageConfig, SourceConfig, StorageConfig
from convoy.dataset.ingest.build import Ingested, ingest
from convoy.dataset.reading.examples import read_split
from convoy.dataset.sources import source_of
from convoy.dataset.storage import catalog
from convoy.dataset.storage.verify import verify
from convoy.errors import DatasetError
from convoy.images import Geometry, prepare
from tests.conftest import encoded, noise
from tests.dataset.ingest.test_ingest import members
from tests.dataset.storage.test_durable import files_below, small_disk
from tests.spark_support import write_images

__all__ = ["small_disk"]  # a fixture

pytestmark = pytest.mark.spark

RGB = ImageConfig(8, 8, 3, "stretch")


def run_ingest(spark, folder: Path, root: Path, image: ImageConfig = RGB, bad: float = 0.0, **settings) -> Ingested:
    config = DatasetConfig(root=str(root), name="pictures", image=image, max_bad_fraction=bad, **settings)
    return ingest(spark, source_of(SourceConfig("folder", str(folder))), config, lambda *_: None)


def quarantined(result: Ingested) -> dict[str, tuple[str, str]]:
    """Path -> (reason, detail)."""
    rows = pq.read_table(result.path / "quarantine").to_pylist()
    return {row["path"]: (row["reason"], row["detail"]) for row in rows}


def animation(kind: str) -> bytes:
    frames = [Image.fromarray(noise(12, 9, 3, seed=seed)) for seed in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


ODD = {
    "animated.gif": animation("GIF"),
    "animated.webp": animation("WEBP"),
    "animated.png": animation("PNG"),
    "sixteen bits.png": encoded(noise(12, 9).astype(np.uint16) * 257, "PNG"),
    "cmyk.jpg": encoded(Image.fromarray(noise(12, 9, 4), "CMYK"), "JPEG"),
    "a png named.jpg": encoded(noise(12, 9, 3), "PNG"),
    "no suffix": encoded(noise(12, 9, 3, seed=1), "JPEG"),
    "one pixel.png": encoded(noise(1, 1, 3), "PNG"),
    "one row.bmp": encoded(noise(1, 300, 3), "BMP"),
    'it\'s "quoted"\n猫 %41.png': encoded(noise(12, 9, 3, seed=2), "PNG"),
}


def test_odd_but_good_files_are_stored_as_scoring_would_see_them(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 30, "b": 30}, (8, 8, 3))
    for name, content in ODD.items():
        (tmp_path / "images" / "a" / name).write_bytes(content)
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data")
    stored = {}
    for split in result.manifest.splits:
        paths = pq.read_table(result.path / split, columns=["path"]).column("path").to_pylist()
        stored |= dict(zip(paths, read_split(result.path, result.manifest, split).images, strict=True))
    for name, content in ODD.items():
        assert (stored[f"a/{name}"] == prepare(content, Geometry(8, 8, 3, "stretch"))).all(), name
    assert result.manifest.quarantined == 0


def test_what_cannot_be_read_is_quarantined_and_nothing_waits_for_it(spark, tmp_path):
    write_images(tmp_path / "images", {"a": 30, "b": 30}, (8, 8, 3))
    folder = tmp_path / "images" / "a"
    os.mkfifo(folder / "pipe.png")
    os.symlink("nowhere", folder / "broken link.png")
    os.symlink("loop.png", folder / "loop.png")
    os.symlink("/dev/zero", folder / "endless.png")
    os.symlink("/proc/self/mem", folder / "failing disk.png")
    os.symlink(tmp_path / "images", folder / "not followed")
    with open(folder / "film.png", "wb") as film:
        film.truncate(1 << 40)  # takes no room on the disk
    (folder / "forbidden.png").write_bytes(ODD["one pixel.png"])
    (folder / "forbidden.png").chmod(0)
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data", bad=0.2)
    found = quarantined(result)
    details = {path.removeprefix("a/").removesuffix(".png"): detail for path, (_, detail) in found.items()}
    assert {reason for reason, _ in found.values()} == {"unreadable"}
    expected = {
        "pipe": "not a regular file, but a pipe or device",
        "broken link": "No such file or directory",
        "loop": "Too many levels of symbolic links",
        "endless": "not a regular file, but a pipe or device",
        "failing disk": "Input/output error",
        "film": "1,099,511,627,776 bytes, more than the maximum of 1,073,741,824",
    }
    if os.geteuid():  # root may read everything
        expected["forbidden"] = "Permission denied"
    assert details == expected
    assert len(members(result)) == 60 + (os.geteuid() == 0)


def test_a_class_that_only_the_test_split_has_is_told(spark, tmp_path, capsys):
    write_images(tmp_path / "images" / "train", {"cat": 30, "dog": 30})
    write_images(tmp_path / "images" / "test", {"cat": 5, "dgo": 5}, seed=1)
    result = run_ingest(spark, tmp_path / "images", tmp_path / "data")
    said = "warning: class 'dgo' has no training images, only 5 test; is the label right?"
    assert said in capsys.readouterr().err.splitlines()
    assert result.manifest.class_weights["dgo"] == 0


def test_classes_that_look_alike_are_told(spark, tmp_path, capsys):
    write_images(tmp_path / "images", {"cat": 10, "Cat ": 10, "dog": 10})
    run_ingest(spark, tmp_path / "images", tmp_path / "data")
    said = "warning: are the classes 'Cat ' and 'cat' the same? They differ only in case or spaces"
    assert said in capsys.readouterr().err.splitlines()


@pytest.mark.long
def test_a_full_disk_leaves_the_old_version_and_no_rest(spark, tmp_path, small_disk):
    write_images(tmp_path / "images", {"a": 20, "b": 20})
    root = small_disk / "datasets"
    first = run_ingest(spark, tmp_path / "images", root, storage=StorageConfig(codec="raw"))
    before = files_below(root)
    larger = ImageConfig(64, 64, 3, "stretch")  # 480 KiB
    with pytest.raises(DatasetError, match=rf"the disk at {small_disk} .* is full"):
        run_ingest(spark, tmp_path / "images", root, larger)
    assert files_below(root) == before
    assert catalog.find(str(root), "pictures", "latest") == first.path
    assert verify(first.path) == []
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    assert verify(run_ingest(spark, tmp_path / "images", root, larger).path) == []
