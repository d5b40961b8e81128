"""``.npz`` and ``.npy``: found by their names, mapped where possible, and refused in one line where not supported."""

import pickle
import struct
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from convoy.config import DatasetConfig, ImageConfig, SourceConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.reading.examples import read_split
from convoy.dataset.sources import source_of
from convoy.errors import ConfigError, SourceError
from convoy.images import ArraySpec
from tests.conftest import noise

LABELS = np.arange(20) % 4


def arrays_in(path):
    return source_of(SourceConfig("arrays", str(path)))


def folder_of(path, **arrays):
    path.mkdir()
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    ("train", "test"),
    [
        (("x_train", "y_train"), ("x_test", "y_test")),
        (("train_images", "train_labels"), ("test_images", "test_labels")),
    ],
)
def test_npz_with_splits(tmp_path, save, train, test):
    images = {"train": noise(20, 6, 5, 3), "test": noise(8, 6, 5, 3, seed=1)}
    save(
        tmp_path / "a.npz",
        **dict(zip(train + test, (images["train"], LABELS, images["test"], LABELS[:8]), strict=True)),
    )
    source = pickle.loads(pickle.dumps(arrays_in(tmp_path / "a.npz")))
    assert source.classes() == ["0", "1", "2", "3"]
    assert source.splits() == {"train", "test"}
    for names, split in ((train, "train"), (test, "test")):
        assert all((source.read(f"{names[0]}/{i}") == image).all() for i, image in enumerate(images[split]))


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y")])
def test_pair_of_npy_files_is_named_by_folder_or_by_file(tmp_path, names):
    images = noise(20, 6, 5)
    folder = folder_of(tmp_path / "pair", **dict(zip(names, (images, LABELS[:, None].astype(np.int8)), strict=True)))
    for path in (folder, folder / f"{names[0]}.npy"):
        source = arrays_in(path)
        assert source.classes() == ["0", "1", "2", "3"]
        assert source.splits() == set()
        assert (source.read(f"{names[0]}/19") == images[19]).all()


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_not_compressed_is_mapped_and_not_read(tmp_path, order):
    images = np.asarray(noise(20, 6, 5), order=order)
    np.savez(tmp_path / "a.npz", images=images, labels=LABELS)
    folder_of(tmp_path / "b", images=images, labels=LABELS)
    for path in (tmp_path / "a.npz", tmp_path / "b"):
        source = arrays_in(path)
        assert isinstance(source.images("images"), np.memmap)
        assert (source.images("images") == images).all()
        assert type(source.read("images/0")) is np.ndarray


def test_labels_may_be_strings_and_numbers_may_have_names(tmp_path):
    images = noise(20, 6, 5)
    names = np.array(["dog", "cat", "hörse", "10"])
    np.savez(tmp_path / "strings.npz", images=images, labels=names[LABELS])
    assert arrays_in(tmp_path / "strings.npz").classes() == ["10", "cat", "dog", "hörse"]
    np.savez(tmp_path / "named.npz", images=images, labels=LABELS, class_names=names)
    assert arrays_in(tmp_path / "named.npz").classes() == ["dog", "cat", "hörse", "10"]  # index = number
    np.savez(tmp_path / "numbers.npz", images=noise(24, 6, 5), labels=np.arange(24) % 12)
    assert arrays_in(tmp_path / "numbers.npz").classes() == [str(i) for i in range(12)]


SPECS = [
    ((6, 5), "uint8", None),
    ((6, 5, 1), "uint8", None),
    ((6, 5, 3), "uint8", None),
    ((6, 5, 4), "uint8", (6, 5, 4)),
    ((3, 6, 5), "uint8", (3, 6, 5)),
    ((6,), "uint8", (6, 1)),
    ((6,), "float16", (6, 1)),
    ((6, 5), "int8", (6, 5)),
    ((6, 5, 3), ">f8", (6, 5, 3)),
    ((4, 6, 5, 2), "bool", (4, 6, 5, 2)),
]


@pytest.mark.parametrize(("shape", "dtype", "expected"), SPECS)
def test_what_is_an_image_and_what_is_an_array_stored_as_it_is(tmp_path, shape, dtype, expected):
    samples = noise(20, *shape).astype(dtype)
    np.savez(tmp_path / "a.npz", images=samples, labels=LABELS)
    source = arrays_in(tmp_path / "a.npz")
    assert source.array_spec() == (expected and ArraySpec(expected, np.dtype(dtype).name))
    for index in (0, 19):
        sample = source.read(f"images/{index}")
        assert sample.shape == (expected or shape)
        assert sample.dtype == np.dtype(dtype).newbyteorder("=")
        assert sample.dtype.isnative
        assert (sample == samples[index].reshape(sample.shape)).all()


@pytest.mark.spark
def test_ingest_stores_the_pixels_and_names(spark, tmp_path):
    images = noise(300, 6, 5, 3)
    labels = np.arange(300) % 3
    np.savez(tmp_path / "a.npz", images=images, labels=labels, class_names=["zebra", "ant", "mole"])
    config = DatasetConfig(root=str(tmp_path / "data"), image=ImageConfig(6, 5, 3, "none"), max_bad_fraction=0)
    result = ingest(spark, arrays_in(tmp_path / "a.npz"), config, lambda *_: None)
    assert result.manifest.classes == ["zebra", "ant", "mole"]
    assert sum(result.manifest.rows().values()) == 300
    assert set(result.manifest.splits) == {"train", "validation", "test"}
    for split in result.manifest.splits:
        paths = pq.read_table(result.path / split, columns=["path"]).column("path").to_pylist()
        data = read_split(result.path, result.manifest, split)
        for path, pixels, label in zip(paths, data.images, data.labels, strict=True):
            index = int(path.removeprefix("images/"))
            assert (pixels == images[index]).all()
            assert label == labels[index]


@pytest.mark.spark
def test_listing_is_in_the_arrays_order(spark, tmp_path):
    names = np.array(["b", "a"])
    np.savez(
        tmp_path / "a.npz",
        x_train=noise(20, 6, 5),
        y_train=names[LABELS % 2],
        x_test=noise(3, 6, 5),
        y_test=names[[1, 1, 0]],
    )
    rows = arrays_in(tmp_path / "a.npz").listing(spark).collect()
    assert [row.path for row in rows] == [f"x_train/{i}" for i in range(20)] + [f"x_test/{i}" for i in range(3)]
    assert [row.class_name for row in rows] == [*names[LABELS % 2], "a", "a", "b"]
    assert [row.split for row in rows] == ["train"] * 20 + ["test"] * 3


IMAGES = noise(20, 6, 5)
REFUSED = {
    "complex": ({"images": IMAGES * 1j, "labels": LABELS}, r"complex128 of shape \(20, 6, 5\); expected uint8 images"),
    "strings": ({"images": IMAGES.astype("U3"), "labels": LABELS}, r"<U3 of shape .* floats of up to 64 bits"),
    "times": ({"images": IMAGES.astype("M8[s]"), "labels": LABELS}, r"datetime64\[s\] of shape"),
    "records": ({"images": np.zeros((20, 5), "f4,i2"), "labels": LABELS}, r"\\|V6 of shape \(20, 5\); expected"),
    "long doubles": ({"images": IMAGES.astype(np.longdouble), "labels": LABELS}, "floats of up to 64 bits"),
    "a list": (
        {"images": noise(20) / 255, "labels": LABELS},
        r"shape \(20,\); expected uint8 images .* \(N, \.\.\., C\)",
    ),
    "splits of two types": (
        {"x_train": IMAGES / 2, "y_train": LABELS, "x_test": IMAGES / np.float32(2), "y_test": LABELS},
        r"samples of 'x_train' are float64 \(6, 5\), those of 'x_test' float32 \(6, 5\); expected one shape and type",
    ),
    "splits of two shapes": (
        {"x_train": IMAGES / 2, "y_train": LABELS, "x_test": IMAGES[:, :5] / 2, "y_test": LABELS},
        r"'x_test' float64 \(5, 5\); expected one shape",
    ),
    "images and arrays": (
        {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES / 2, "y_test": LABELS},
        r"samples of 'x_train' are uint8 images, those of 'x_test' float64 \(6, 5\)",
    ),
    "none": ({"images": noise(0, 6, 5), "labels": LABELS[:0]}, r"shape \(0, 6, 5\)"),
    "fewer labels": ({"images": IMAGES, "labels": LABELS[:19]}, "20 samples, 'labels' has 19 labels"),
    "one-hot": ({"images": IMAGES, "labels": np.eye(4, dtype=int)[LABELS]}, r"argmax\(axis=1\)"),
    "float labels": ({"images": IMAGES, "labels": LABELS / 1}, "expected one integer or string per sample"),
    "no labels": ({"images": IMAGES}, "has 'images' but no 'labels'"),
    "other names": ({"pictures": IMAGES, "classes": LABELS}, "holds 'pictures', 'classes'; expected images and labels"),
    "objects": ({"images": IMAGES, "labels": np.array([None] * 20)}, "pickled Python objects"),
    "a slash": ({"images": IMAGES, "labels": np.array(["a/b", "c"] * 10)}, "class 'a/b'; expected a plain name"),
    "dots": ({"images": IMAGES, "labels": np.array([".."] * 20)}, r"class '\.\.'; expected"),
    "an unknown label": (
        {"images": IMAGES, "labels": LABELS, "class_names": ["a", "b", "c"]},
        "label 3 in 'images' has no name: class_names has 3; expected labels 0 to 2",
    ),
    "a negative label": (
        {"images": IMAGES, "labels": LABELS - 1, "class_names": list("abcd")},
        "label -1 .* has no name",
    ),
    "names twice": ({"images": IMAGES, "labels": LABELS, "class_names": list("abca")}, "expected different strings"),
    "names of strings": (
        {"x": IMAGES, "y": np.array(["a"] * 20), "class_names": ["a"]},
        "for labels that are integers",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_said_before_any_work(tmp_path, case):
    arrays, said = REFUSED[case]
    np.savez(tmp_path / "a.npz", **arrays)
    for path in (tmp_path / "a.npz", folder_of(tmp_path / "b", **arrays)):
        said_here = said if path.suffix else said.replace("holds 'pictures', 'classes'", "holds 'classes', 'pictures'")
        with pytest.raises(SourceError, match=said_here) as caught:
            arrays_in(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", ["npy", "stored", "compressed"])
@pytest.mark.parametrize("rows", [10, 30, 10**12])
def test_header_that_lies_is_refused_without_spending_memory(tmp_path, where, rows):
    folder = folder_of(tmp_path / "pair", images=IMAGES, labels=LABELS)
    content = (folder / "images.npy").read_bytes()
    (size,) = struct.unpack("<H", content[8:10])
    header = content[10 : 10 + size].replace(b"(20, 6, 5)", f"({rows}, 6, 5)".encode()).strip().ljust(size - 1) + b"\n"
    (folder / "images.npy").write_bytes(content[:8] + struct.pack("<H", len(header)) + header + content[10 + size :])
    path = folder
    if where != "npy":
        path = tmp_path / "a.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if where == "stored" else zipfile.ZIP_DEFLATED) as archive:
            for name in ("images.npy", "labels.npy"):
                archive.write(folder / name, name)
    with pytest.raises(SourceError, match=rf"uint8 of shape \({rows}, 6, 5\), .* but has "):
        arrays_in(path)


def test_a_sample_that_no_row_group_can_hold_is_refused(tmp_path):
    np.save(tmp_path / "labels.npy", LABELS)
    with open(tmp_path / "images.npy", "wb") as file:  # 20 GiB, none of them on the disk
        described = {"descr": "<f4", "fortran_order": False, "shape": (20, 2**28 + 1, 1)}
        np.lib.format.write_array_header_1_0(file, described)
        file.truncate(file.tell() + 20 * (2**30 + 4))
    with pytest.raises(SourceError, match=r"1\.0 GiB a sample; expected at most 1 GiB"):
        arrays_in(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\3\4 cut short"])
def test_file_that_is_no_npz_is_said(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(SourceError, match=r"cannot be read \(.+\); expected an \.npz file"):
        arrays_in(tmp_path / "a.npz")
    with pytest.raises(SourceError, match="No such file or directory"):
        arrays_in(tmp_path / "b.npz")
    with pytest.raises(ConfigError, match=r"source\.kind arrays needs the \.npz file"):
        source_of(SourceConfig("arrays"))


def test_array_that_is_gone_is_an_oserror_on_the_worker(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS)
    source = arrays_in(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", labels=LABELS)
    with pytest.raises(OSError, match="images"):
        source.read("images/0")
    (tmp_path / "a.npz").unlink()
    with pytest.raises(OSError, match="No such file or directory"):
        source.read("images/0")
