"""Arrays that are no 8-bit images: stored as they are, with real Spark, and read back with Petastorm's own reader."""

import functools
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from convoy.config import DatasetConfig, ImageConfig, SourceConfig, StorageConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.reading.examples import read_examples, read_split
from convoy.dataset.reading.split_reader import ReadSettings, open_split
from convoy.dataset.reading.tf_data import to_tf
from convoy.dataset.sources import source_of
from convoy.dataset.storage.describe import manifest_summary
from convoy.dataset.storage.manifest import NAME, Manifest
from convoy.dataset.storage.verify import verify
from convoy.errors import ConfigError
from convoy.images import ArraySpec
from tests.conftest import noise
from tests.dataset.ingest.test_ingest import petastorm_rows

pytestmark = [pytest.mark.spark, pytest.mark.long]

ROWS = 120
LABELS = np.arange(ROWS) % 3


def normal(*shape):
    return np.random.default_rng(0).normal(3, 2, (ROWS, *shape))


def run_ingest(spark, path, root, images, labels=LABELS, **settings):
    np.savez(path, images=images, labels=labels)
    config = DatasetConfig(root=str(root), name="arrays", **settings)
    return ingest(spark, source_of(SourceConfig("arrays", str(path))), config, lambda *_: None)


CASES = {
    "signals": (normal(50, 2).astype(np.float32), ArraySpec((50, 2), "float32")),
    "bytes and axes in another order": (np.asfortranarray(normal(7).astype(">f8")), ArraySpec((7, 1), "float64")),
    "volumes": ((100 * normal(4, 6, 5, 1)).astype(np.int16), ArraySpec((4, 6, 5, 1), "int16")),
    "four channels": (noise(ROWS, 6, 5, 4), ArraySpec((6, 5, 4), "uint8")),
}


@pytest.mark.parametrize("case", CASES)
def test_petastorm_and_our_reader_return_exactly_what_was_given(spark, tmp_path, case):
    given, spec = CASES[case]
    expected = given.astype(given.dtype.newbyteorder("=")).reshape(ROWS, *spec.shape)
    storage = StorageConfig(row_group_mb=0.01)
    result = run_ingest(spark, tmp_path / "a.npz", tmp_path / "data", given, max_bad_fraction=0, storage=storage)
    manifest = Manifest.load(result.path)
    assert (manifest.spec, manifest.image, manifest.sizes, manifest.codec) == (spec, None, None, "raw")
    assert manifest.settings["array"] == [list(spec.shape), spec.dtype]
    assert "image" not in manifest.settings
    assert verify(result.path) == []
    assert {path.name for path in (result.path / "pictures").iterdir()} == {"samples.png", "classes.png"}
    with Image.open(result.path / "pictures" / "samples.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5  # not an empty sheet
    seen = []
    for split in manifest.splits:
        data = read_split(result.path, manifest, split)
        assert data.images.dtype == np.dtype(spec.dtype)
        for row, sample, label in zip(petastorm_rows(result.path, split), data.images, data.labels, strict=True):
            index = int(row.path.removeprefix("images/"))
            assert row.image.dtype == expected.dtype
            assert row.image.tobytes() == sample.tobytes() == expected[index].tobytes()
            assert row.image.shape == spec.shape
            assert row.label == label == LABELS[index]
            seen.append(index)
        if split == "train":
            flat = data.images.reshape(-1, spec.shape[-1]).astype(np.float64)
            np.testing.assert_allclose(manifest.pixel_mean, flat.mean(0), rtol=1e-12)
            np.testing.assert_allclose(manifest.pixel_std, flat.std(0), rtol=1e-12)
            reader = open_split(result.path, manifest, split, ReadSettings())
            [batch] = to_tf(functools.partial(reader.batches, 0, len(data), 0, 1), reader.first())
            assert batch["images"].dtype.name == spec.dtype
            assert sorted(map(bytes, batch["images"].numpy())) == sorted(map(bytes, data.images))
            np.testing.assert_array_equal(read_examples(result.path, manifest, split), data.images[:4])
    assert sorted(seen) == list(range(ROWS))


def test_samples_that_are_not_finite_are_quarantined(spark, tmp_path):
    signals = normal(50, 2).astype(np.float32)
    signals[5, 3, 1], signals[77] = np.nan, np.inf
    result = run_ingest(spark, tmp_path / "a.npz", tmp_path / "data", signals, max_bad_fraction=0.05)
    assert result.manifest.quarantined == 2
    bad = {row["path"]: row for row in pq.read_table(result.path / "quarantine").to_pylist()}
    assert {path: row["reason"] for path, row in bad.items()} == dict.fromkeys(["images/5", "images/77"], "not_finite")
    assert bad["images/5"]["detail"] == "nan at (3, 1), 1 of 100 values"
    assert np.isfinite(result.manifest.pixel_mean).all()
    assert sum(result.manifest.rows().values()) == ROWS - 2


def test_a_version_is_named_by_bytes_shape_and_type_and_by_no_setting_of_images(spark, tmp_path):
    numbers = np.arange(ROWS * 24, dtype=np.int32).reshape(ROWS, 4, 6)
    root = tmp_path / "data"
    first = run_ingest(spark, tmp_path / "a.npz", root, numbers)
    again = run_ingest(spark, tmp_path / "a.npz", root, numbers, image=ImageConfig(8, 8, 1, "auto"))
    assert again.existed
    others = [
        run_ingest(spark, tmp_path / "a.npz", root, samples)
        for samples in (numbers.view(np.float32), numbers.reshape(ROWS, 6, 4), numbers + 1)
    ]
    versions = {first.manifest.version, *(other.manifest.version for other in others)}
    prints = {first.manifest.fingerprint, *(other.manifest.fingerprint for other in others)}
    assert (len(versions), len(prints)) == (4, 4)


@pytest.mark.parametrize("codec", ["png", "jpeg", "keep"])
def test_codecs_of_images_are_refused_before_any_work(spark, tmp_path, codec):
    said = rf"codec is '{codec}', but the samples are arrays, float32 \(50, 2\); expected raw"
    with pytest.raises(ConfigError, match=said):
        run_ingest(
            spark, tmp_path / "a.npz", tmp_path / "data", CASES["signals"][0], storage=StorageConfig(codec=codec)
        )
    assert not (tmp_path / "data").exists()


def test_show_tells_shape_and_type(spark, tmp_path):
    result = run_ingest(spark, tmp_path / "a.npz", tmp_path / "data", CASES["signals"][0])
    facts = dict(manifest_summary(result.path, result.manifest)[0].rows)
    assert facts["samples"] == "50x2 float32 arrays, codec raw"
    assert "images" not in facts
    many = run_ingest(spark, tmp_path / "a.npz", tmp_path / "data", 1e-13 * normal(2, 30))
    facts = dict(manifest_summary(many.path, many.manifest)[0].rows)
    assert facts["pixel mean"].endswith("... (30 channels)")
    assert "e-13" in facts["pixel mean"]


def test_verify_compares_petastorms_schema_with_the_manifest(spark, tmp_path):
    result = run_ingest(spark, tmp_path / "a.npz", tmp_path / "data", CASES["signals"][0])
    values = json.loads((result.path / NAME).read_text())
    (result.path / NAME).write_text(json.dumps({**values, "dtype": "int32"}))
    said = "_common_metadata: describes samples of float32 (50, 2), the manifest says int32 (50, 2)"
    assert verify(result.path) == [f"{split}/{said}" for split in result.manifest.splits]
