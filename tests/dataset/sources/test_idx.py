"""MNIST's own files: read exactly, and refused when they are not what their headers say."""

import gzip
import pickle
import struct

import numpy as np
import pyarrow.parquet as pq
import pytest

from convoy.config import DatasetConfig, ImageConfig, SourceConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.reading.examples import read_split
from convoy.dataset.sources import source_of
from convoy.dataset.sources.idx import IdxSource
from convoy.errors import ConfigError, SourceError
from tests.conftest import noise

DASHED = "{}-{}-idx{}-ubyte"
DOTTED = "{}-{}.idx{}-ubyte"


def idx(values, dims=None):
    dims = values.shape if dims is None else dims
    return struct.pack(f">BBBB{len(dims)}I", 0, 0, 8, len(dims), *dims) + values.tobytes()


def write_idx(folder, counts, spelling=DASHED, zipped=False, classes=10):
    """Write files with ``counts``: prefix -> images; returns prefix -> (images, labels)."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for seed, (prefix, count) in enumerate(counts.items()):
        images = noise(count, 6, 5, seed=seed)
        labels = (np.arange(count) * 7 % classes).astype(np.uint8)
        arrays[prefix] = (images, labels)
        for kind, values in (("images", images), ("labels", labels)):
            name = spelling.format(prefix, kind, values.ndim)
            content = idx(values)
            (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)
    return arrays


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("spelling", [DASHED, DOTTED])
def test_every_spelling_is_read_exactly(tmp_path, spelling, zipped):
    arrays = write_idx(tmp_path, {"train": 50, "t10k": 20}, spelling, zipped)
    source = pickle.loads(pickle.dumps(source_of(SourceConfig("idx", str(tmp_path)))))
    assert source.classes() == [str(i) for i in range(10)]
    assert source.splits() == {"train", "test"}
    for prefix, split in (("train", "train"), ("t10k", "test")):
        images, _ = arrays[prefix]
        for i in (0, len(images) - 1):
            assert (source.read(f"{split}/{i}") == images[i]).all()
            assert type(source.read(f"{split}/{i}")) is np.ndarray


def test_training_files_alone_are_enough_and_labels_are_sorted_by_value(tmp_path):
    write_idx(tmp_path, {"train": 24}, classes=12)
    source = source_of(SourceConfig("idx", str(tmp_path)))
    assert source.splits() == {"train"}
    assert source.classes() == [str(i) for i in range(12)]


def test_files_that_have_changed_are_read_again(tmp_path):
    write_idx(tmp_path, {"train": 10})
    source = source_of(SourceConfig("idx", str(tmp_path)))
    source.read("train/0")
    other = noise(12, 6, 5, seed=9)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(other))
    assert (source.read("train/11") == other[11]).all()


@pytest.mark.spark
@pytest.mark.parametrize("zipped", [False, True])
def test_ingest_stores_the_files_pixels_and_labels(spark, tmp_path, zipped):
    arrays = write_idx(tmp_path / "mnist", {"train": 200, "t10k": 60}, zipped=zipped)
    config = DatasetConfig(root=str(tmp_path / "data"), image=ImageConfig(6, 5, 1, "none"), max_bad_fraction=0)
    result = ingest(spark, source_of(SourceConfig("idx", str(tmp_path / "mnist"))), config, lambda *_: None)
    assert result.manifest.rows()["test"] == 60
    assert sum(result.manifest.rows().values()) == 260
    for split in result.manifest.splits:
        images, labels = arrays["t10k" if split == "test" else "train"]
        paths = pq.read_table(result.path / split, columns=["path"]).column("path").to_pylist()
        data = read_split(result.path, result.manifest, split)
        for path, pixels, label in zip(paths, data.images, data.labels, strict=True):
            index = int(path.split("/")[1])
            assert (pixels[:, :, 0] == images[index]).all()
            assert label == labels[index]


@pytest.mark.spark
def test_listing_is_in_the_files_order(spark, tmp_path):
    arrays = write_idx(tmp_path, {"train": 30, "t10k": 10})
    rows = IdxSource(str(tmp_path)).listing(spark).collect()
    expected = [("train", i) for i in range(30)] + [("test", i) for i in range(10)]
    assert [(row.path, row.split) for row in rows] == [(f"{split}/{i}", split) for split, i in expected]
    assert [row.class_name for row in rows] == [
        str(i) for i in np.concatenate([labels for _, labels in arrays.values()])
    ]


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
BAD = {
    "more images than there are": (
        {IMAGES: idx(noise(9, 6, 5), (10, 6, 5))},
        r"10 x 6 x 5 images, 316 bytes, but has 286",
    ),
    "fewer images than there are": ({IMAGES: idx(noise(11, 6, 5), (10, 6, 5))}, "316 bytes, but has 346"),
    "more bytes than the earth has": ({IMAGES: idx(noise(10, 6, 5), (10, 2**32 - 1, 2**32 - 1))}, "bytes, but has 316"),
    "more labels than images": ({LABELS: idx(noise(12))}, "10 images.* has 12 labels"),
    "fewer labels than it says": ({LABELS: idx(noise(9), (10,))}, "10 labels, 18 bytes, but has 17"),
    "labels for images": ({IMAGES: idx(noise(10))}, "begins with 00 00 08 01.*begins with 00 00 08 03"),
    "floats": ({IMAGES: b"\0\0\x0d\3" + bytes(12)}, "begins with 00 00 0d 03"),
    "no images": ({IMAGES: idx(noise(0, 6, 5))}, "expected at least one"),
    "an empty file": ({IMAGES: b""}, "begins with nothing"),
    "a header cut short": ({IMAGES: idx(noise(10, 6, 5))[:9]}, "begins with 00 00 08 03"),
    "no labels file": ({LABELS: None}, "has no train-labels-idx1-ubyte, with or without .gz"),
    "a web page for a gzip": ({IMAGES: None, IMAGES + ".gz": b"<html>"}, "Not a gzipped file"),
    "a gzip cut short": (
        {IMAGES: None, IMAGES + ".gz": gzip.compress(idx(noise(10, 6, 5)))[:-90]},
        "cannot be unpacked",
    ),
    "a gzip with less": ({IMAGES: None, IMAGES + ".gz": gzip.compress(idx(noise(9, 6, 5), (10, 6, 5)))}, "has 286"),
    "a gzip bomb": (
        {IMAGES: None, IMAGES + ".gz": gzip.compress(idx(np.zeros((20_000, 60, 50), np.uint8), (10, 6, 5)))},
        "316 bytes, but has more than 316",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_lie_are_refused_before_any_work(tmp_path, case):
    files, said = BAD[case]
    write_idx(tmp_path, {"train": 10})
    for name, content in files.items():
        (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=said) as caught:
        source_of(SourceConfig("idx", str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_file_damaged_after_the_check_is_an_oserror_on_the_worker(tmp_path):
    write_idx(tmp_path, {"train": 10}, zipped=True)
    source = source_of(SourceConfig("idx", str(tmp_path)))
    (tmp_path / (IMAGES + ".gz")).write_bytes(gzip.compress(idx(noise(9, 6, 5), (10, 6, 5))))
    with pytest.raises(OSError, match="header is wrong"):
        source.read("train/0")
    (tmp_path / (IMAGES + ".gz")).unlink()
    with pytest.raises(OSError, match="is missing from"):
        source.read("train/0")


def test_missing_folder_is_said(tmp_path):
    with pytest.raises(SourceError, match=r"nosuch' does not exist; expected the folder of MNIST's files"):
        source_of(SourceConfig("idx", str(tmp_path / "nosuch")))
    with pytest.raises(SourceError, match="has no train-images-idx3-ubyte"):
        source_of(SourceConfig("idx", str(tmp_path)))
    with pytest.raises(ConfigError, match=r"source\.path is missing; source\.kind idx"):
        source_of(SourceConfig("idx"))
