"""Petastorm datasets of any origin, written here by Petastorm itself, as a source of images."""

import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convoy.config import ColumnsConfig, DatasetConfig, ImageConfig, SourceConfig, StorageConfig
from convoy.dataset.ingest.build import QUARANTINE, ingest
from convoy.dataset.reading.examples import read_split
from convoy.dataset.sources import source_of
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ConfigError, SourceError
from convoy.images import ArraySpec
from tests.conftest import noise
from tests.dataset.petastorm.written import field, write_petastorm
from tests.dataset.versions import write_arrays
from tests.spark_support import write_images

pytestmark = [pytest.mark.spark, pytest.mark.long]

UNISCHEMA_KEY = b"dataset-toolkit.unischema.v1"
ROWS = 40
GREY = noise(ROWS, 6, 5)
RGB = noise(ROWS, 6, 5, 3)
NUMBERS = [row % 3 for row in range(ROWS)]
NAMES = [("cat", "dog", "Ägypten 1")[row % 3] for row in range(ROWS)]


def source_at(path, **columns):
    return source_of(SourceConfig("petastorm", str(path), columns=ColumnsConfig(**columns)))


def run_ingest(spark, source, root, **settings):
    options = {"image": ImageConfig(height=6, width=5, channels=3, resize="none"), "max_bad_fraction": 0.0, **settings}
    return ingest(spark, source, DatasetConfig(root=str(root), name="x", **options), lambda *_: None)


def samples_of(version):
    """(Class, bytes of the sample), sorted, of all splits."""
    manifest = Manifest.load(version)
    found = []
    for split in manifest.splits:
        data = read_split(version, manifest, split)
        found += [
            (manifest.classes[label], image.tobytes()) for image, label in zip(data.images, data.labels, strict=True)
        ]
    return sorted(found)


IMAGES = {
    "png": (field("picture", np.uint8, (6, 5, 3), "png"), RGB, 3),
    "png of any size": (field("picture", np.uint8, (None, None, 3), "png"), RGB, 3),
    "grey png": (field("picture", np.uint8, (6, 5), "png"), GREY, 1),
    "array HxW": (field("picture", np.uint8, (6, 5), "array"), GREY, 1),
    "array HxWx1": (field("picture", np.uint8, (6, 5, 1), "array"), GREY[..., None], 1),
    "array HxWx3": (field("picture", np.uint8, (6, 5, 3), "array"), RGB, 3),
}


@pytest.mark.parametrize("case", IMAGES)
@pytest.mark.parametrize(("label", "values"), [("int", NUMBERS), ("text", NAMES)])
def test_images_of_every_codec_and_labels_of_both_kinds(spark, tmp_path, case, label, values):
    image, pixels, channels = IMAGES[case]
    fields = [image, field("kind", np.int64 if label == "int" else np.str_)]
    write_petastorm(tmp_path / "given", fields, {"picture": pixels, "kind": values})
    source = source_at(f"file://{tmp_path}/given", image="picture", label="kind")
    geometry = ImageConfig(height=6, width=5, channels=channels, resize="none")
    result = run_ingest(spark, source, tmp_path / "data", image=geometry)
    expected = sorted((str(value), image.tobytes()) for image, value in zip(pixels, values, strict=True))
    assert samples_of(result.path) == expected
    assert result.manifest.source == {"kind": "petastorm", "path": f"{tmp_path}/given"}


ARRAYS = {
    "signals": ((50,), np.float32, ArraySpec((50, 1), "float32")),
    "volumes": ((2, 6, 5, 1), np.int16, ArraySpec((2, 6, 5, 1), "int16")),
    "four channels": ((6, 5, 4), np.uint8, ArraySpec((6, 5, 4), "uint8")),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_other_arrays_are_stored_as_they_are(spark, tmp_path, case):
    shape, dtype, spec = ARRAYS[case]
    values = (50 * np.random.default_rng(0).random((ROWS, *shape))).astype(dtype)
    write_petastorm(tmp_path / "given", [field("image", dtype, shape, "array"), field("label", np.int32)], {
        "image": values, "label": NUMBERS})  # fmt: skip
    source = source_at(tmp_path / "given")
    assert source.array_spec() == spec
    result = run_ingest(spark, source, tmp_path / "data")
    assert result.manifest.spec == spec
    expected = sorted((str(value), sample.tobytes()) for sample, value in zip(values, NUMBERS, strict=True))
    assert samples_of(result.path) == expected
    with pytest.raises(ConfigError, match=r"codec is 'png', but the samples are arrays"):
        run_ingest(spark, source, tmp_path / "data", storage=StorageConfig(codec="png"))


@pytest.mark.parametrize("codec", ["raw", "png", "keep"])
def test_a_version_that_convoy_has_written_comes_back_with_its_splits_names_and_pixels(spark, tmp_path, codec):
    write_images(tmp_path / "images", {"cat": 30, "dog": 25}, (6, 5, 3))
    folder = source_of(SourceConfig("folder", str(tmp_path / "images")))
    first = run_ingest(spark, folder, tmp_path / "first", storage=StorageConfig(codec=codec))
    again = run_ingest(spark, source_at(first.path), tmp_path / "again", storage=StorageConfig(codec="raw"))
    assert again.manifest.classes == ["0", "1"]
    for split, entry in first.manifest.splits.items():
        one, other = (
            {
                (path, manifest.classes[label] if manifest is again.manifest else str(label), image.tobytes())
                for path, label, image in zip(
                    pq.read_table(version / split, columns=["path"]).column("path").to_pylist(),
                    read_split(version, manifest, split).labels,
                    read_split(version, manifest, split).images,
                    strict=True,
                )
            }
            for version, manifest in ((first.path, first.manifest), (again.path, again.manifest))
        )
        assert one == other
        assert len(one) == entry.rows
    # One of its splits alone is a Petastorm dataset, too.
    assert source_at(first.path / "train").splits(spark) == set()


def test_folders_named_by_value_are_fields_and_their_text_stays_as_it_is(spark, tmp_path):
    fields = [field("image", np.uint8, (6, 5, 3), "png"), field("label", np.str_), field("split", np.str_)]
    labels = [("01", "1", "2")[row % 3] for row in range(ROWS)]
    splits = [("train", "val")[row % 5 == 0] for row in range(ROWS)]
    columns = {"image": RGB, "label": labels, "split": splits}
    write_petastorm(tmp_path / "given", fields, columns, partition_by=["label"])
    assert sorted(p.name for p in (tmp_path / "given").glob("label=*")) == ["label=01", "label=1", "label=2"]
    source = source_at(tmp_path / "given")
    assert source.classes(spark) == ["01", "1", "2"]
    assert source.splits(spark) == {"train", "validation"}
    result = run_ingest(spark, source, tmp_path / "data")
    assert samples_of(result.path) == sorted((label, image.tobytes()) for image, label in zip(RGB, labels, strict=True))


def test_weights_come_along(spark, tmp_path):
    folder = tmp_path / "given"
    write_arrays(folder, "train", RGB, np.array(NUMBERS, np.int32), np.arange(ROWS, dtype=np.float32), "png")
    result = run_ingest(spark, source_at(folder), tmp_path / "data")
    assert result.manifest.weighted
    data = read_split(result.path, result.manifest, "train")
    of_image = {image.tobytes(): weight for weight, image in enumerate(RGB)}
    assert [of_image[image.tobytes()] for image in data.images] == data.weights.tolist()


def test_rows_that_cannot_be_used_go_to_quarantine(spark, tmp_path):
    folder = tmp_path / "given"
    fields = [field("image", np.float32, (50,), "array", nullable=True), field("label", np.int32)]
    values = np.random.default_rng(0).random((ROWS, 50), np.float32)
    values[3, 7] = np.nan
    write_petastorm(folder, fields, {"image": values, "label": NUMBERS})
    (file,) = folder.glob("*.parquet")
    table = pq.read_table(file)
    column = table.column("image").to_pylist()
    column[0], column[1], column[2], column[4] = None, column[1][:150], b"garbage", column[4].replace(b"<f4", b"<i4")
    pq.write_table(table.set_column(0, "image", pa.array(column, pa.binary())), file)
    result = run_ingest(spark, source_at(folder), tmp_path / "data", max_bad_fraction=0.5)
    bad = pq.read_table(result.path / QUARANTINE).to_pylist()
    expected = ["empty", "not_an_image", "not_finite", "size", "truncated"]
    assert sorted(row["reason"] for row in bad) == expected
    assert sum(entry.rows for entry in result.manifest.splits.values()) == ROWS - 5


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "given"
    fields = [
        field("image", np.uint8, (6, 5, 3), "png"),
        field("label", np.int32),
        field("score", np.float32),
        field("sizes", np.int32, (2,), "array"),
        field("loose", np.float32, (None, 3), "array"),
        field("squeezed", np.uint8, (6, 5, 3), "compressed"),
    ]
    loose = np.zeros((ROWS, 2, 3), np.float32)
    sizes = np.ones((ROWS, 2), np.int32)
    columns = {"image": RGB, "label": NUMBERS, "score": [0.5] * ROWS, "sizes": sizes, "loose": loose, "squeezed": RGB}
    return write_petastorm(folder, fields, columns)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": "imgae"}, r"has no field 'imgae' \(source\.columns\.image\); its fields are 'image',.*mean 'image'"),
        ({"label": "class"}, r"has no field 'class' \(source\.columns\.label\); its fields are 'image', 'label',"),
        ({"split": "fold"}, r"has no field 'fold' \(source\.columns\.split\)"),
        ({"image": "score"}, r"is float32 of shape \(\), with ScalarCodec; expected images or arrays"),
        ({"image": "squeezed"}, r"uint8 of shape \(6, 5, 3\), with CompressedNdarrayCodec; expected images or arrays"),
        ({"image": "loose"}, r"is float32 of shape \(None, 3\), with NdarrayCodec; expected one shape"),
        ({"label": "score"}, r"'score' \(source\.columns\.label\) is float32.*; expected a scalar of integers"),
        ({"label": "sizes"}, r"field 'sizes' \(source\.columns\.label\) is int32 of shape \(2,\)"),
    ],
)  # fmt: skip
def test_fields_that_do_not_fit_are_refused_and_the_others_named(plain, columns, message):
    with pytest.raises(SourceError, match=message):
        source_at(plain, **columns)


def test_what_is_no_petastorm_dataset_is_refused(plain, tmp_path):
    with pytest.raises(SourceError, match="is not a folder; expected one with a Petastorm dataset"):
        source_at(tmp_path / "missing")
    with pytest.raises(ConfigError, match=r"source\.path is missing; source.kind petastorm needs the folder"):
        source_of(SourceConfig("petastorm"))
    with pytest.raises(SourceError, match="is a URL; a Petastorm dataset is a folder that every node sees"):
        source_at("s3://bucket/pictures")
    bare = shutil.copytree(plain, tmp_path / "bare")
    os.unlink(bare / "_common_metadata")
    with pytest.raises(
        SourceError, match=r"has no _common_metadata, so it is not a Petastorm dataset; .* source\.kind table"
    ):
        source_at(bare)
    schema = pq.read_schema(plain / "_common_metadata")
    for metadata, reason in (
        ({}, "it has no Unischema"),
        ({UNISCHEMA_KEY: b"garbage"}, "UnpicklingError"),
        ({UNISCHEMA_KEY: b"\x80\x04K\x01."}, "it holds a int instead of a Unischema"),
        ({UNISCHEMA_KEY: b"cos\nsystem\n(S'false'\ntR."}, "global 'os.system' is forbidden"),
    ):
        pq.write_metadata(schema.with_metadata(metadata), bare / "_common_metadata")
        with pytest.raises(SourceError, match=f"cannot be read as a Petastorm dataset .*{reason}"):
            source_at(bare)


def test_splits_of_different_kinds_are_refused(tmp_path):
    labels = field("label", np.int32)
    write_petastorm(tmp_path / "train", [field("image", np.uint8, (6, 5), "png"), labels], {
        "image": GREY, "label": NUMBERS})  # fmt: skip
    write_petastorm(tmp_path / "test", [field("image", np.float32, (6, 5), "array"), labels], {
        "image": GREY.astype(np.float32), "label": NUMBERS})  # fmt: skip
    with pytest.raises(SourceError, match=r"are float32 \(6, 5\), those in .*/train uint8 images; expected one shape"):
        source_at(tmp_path)
