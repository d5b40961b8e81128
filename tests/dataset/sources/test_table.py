"""Whatever Spark reads: images in the rows, in Spark's own layouts, or named by the rows."""

import io
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyspark.sql.types import BinaryType

from convoy.config import ColumnsConfig, DatasetConfig, ImageConfig, SourceConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.reading.examples import read_split
from convoy.dataset.sources import source_of
from convoy.dataset.sources.table import encode_structs
from convoy.errors import ConfigError, SourceError
from convoy.images import decode
from tests.conftest import noise
from tests.spark_support import encoded, write_images

pytestmark = pytest.mark.spark


def table_at(where, kind=None, /, **columns):
    source = source_of(SourceConfig("table", str(where), kind, ColumnsConfig(**columns)))
    return pickle.loads(pickle.dumps(source))


def listed(spark, source):
    return [row.asDict() for row in source.listing(spark).orderBy("name").collect()]


def write(where, /, **columns):
    pq.write_table(pa.table(columns), where)
    return where


PNGS = [encoded(noise(6, 5, 3, seed=i)) for i in range(4)]


def test_encoded_bytes_with_paths_labels_and_splits(spark, tmp_path):
    path = write(
        tmp_path / "t",
        content=PNGS,
        path=["a/1", "a/2", "b/1", "b/2"],
        label=[7, 7, 10, 9],
        split=["train", "val", "test", None],
    )
    source = table_at(path)
    assert source.classes(spark) == ["7", "9", "10"]
    assert source.splits(spark) == {"train", "validation", "test"}
    rows = listed(spark, source)
    assert [(row["name"], row["class_name"], row["split"], bytes(row["content"])) for row in rows] == [
        ("a/1", "7", "train", PNGS[0]),
        ("a/2", "7", "validation", PNGS[1]),
        ("b/1", "10", "test", PNGS[2]),
        ("b/2", "9", None, PNGS[3]),
    ]
    assert isinstance(source.listing(spark).schema["content"].dataType, BinaryType)


def test_rows_without_path_are_named_by_their_content(spark, tmp_path):
    one = listed(spark, table_at(write(tmp_path / "1", jpg=PNGS, kind=list("abab")), image="jpg", label="kind"))
    other = listed(spark, table_at(write(tmp_path / "2", jpg=PNGS[::-1], kind=list("baba")), image="jpg", label="kind"))
    assert one == other
    assert len({row["name"] for row in one}) == 4
    assert all(row["name"].startswith(f"{row['class_name']}/") for row in one)


def test_rows_of_one_name_have_one_content(spark, tmp_path):
    path = write(tmp_path / "t", content=[*PNGS, PNGS[0]], path=["1", "1", "2", None, "1"], label=["a"] * 5)
    rows = listed(spark, table_at(path))
    by_name = {}
    for row in rows:
        by_name.setdefault(row["name"], set()).add(bytes(row["content"]))
    assert len(rows) == 5
    assert sorted(len(contents) for contents in by_name.values()) == [1, 1, 1, 1]


def test_row_without_image_is_listed_as_empty(spark, tmp_path):
    path = write(tmp_path / "t", content=[PNGS[0], None], path=["1", "2"], label=["a", "a"])
    assert [bytes(row["content"]) for row in listed(spark, table_at(path))] == [PNGS[0], b""]


def test_hugging_face_layout(spark, tmp_path):
    images = [{"bytes": png, "path": f"{i}.png"} for i, png in enumerate(PNGS)]
    rows = listed(spark, table_at(write(tmp_path / "t", image=images, label=[0, 1, 0, 1])))
    assert [(row["name"], row["class_name"], bytes(row["content"])) for row in rows] == [
        (f"{i}.png", str(i % 2), png) for i, png in enumerate(PNGS)
    ]


ODD = "a b+c%20ü'"


def odd_folder(root):
    for name, count in ((ODD, 3), ("b", 2)):
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{i} 100%41+.png").write_bytes(encoded(noise(6, 5, 3, seed=i)))
    return root


def test_binary_files_are_labelled_by_their_folder_and_named_as_the_folder_source_names_them(spark, tmp_path):
    root = odd_folder(tmp_path / "images")
    source = table_at(root, "binaryFile")
    assert source.classes(spark) == sorted([ODD, "b"]) == source_of(SourceConfig("folder", str(root))).classes()
    assert source.splits(spark) == set()
    rows = listed(spark, source)
    assert [row["name"] for row in rows] == sorted(str(path.relative_to(root)) for path in root.rglob("*.png"))
    assert all(bytes(row["content"]) == (root / row["name"]).read_bytes() for row in rows)
    assert all(row["name"].startswith(row["class_name"] + "/") for row in rows)


def test_folders_named_like_columns_are_columns(spark, tmp_path):
    for split, label, name in (("train", "7", "1"), ("test", "cat", "2")):
        folder = tmp_path / f"split={split}" / f"label={label}"
        folder.mkdir(parents=True)
        (folder / f"{name}.png").write_bytes(PNGS[0])
    source = table_at(tmp_path, "binaryFile")
    assert source.classes(spark) == ["7", "cat"]
    assert source.splits(spark) == {"train", "test"}
    assert sorted((row["class_name"], row["split"]) for row in listed(spark, source)) == [
        ("7", "train"),
        ("cat", "test"),
    ]


def test_file_in_no_folder_has_no_class(spark, tmp_path):
    (odd_folder(tmp_path / "images") / "stray.png").write_bytes(PNGS[0])
    with pytest.raises(SourceError, match=r"row 'stray\.png' has no label"):
        table_at(tmp_path / "images", "binaryFile").classes(spark)


def test_image_layout_keeps_every_pixel_in_rgb_and_the_name(spark, tmp_path):
    root = odd_folder(tmp_path / "images")
    (root / "b" / "grey.png").write_bytes(encoded(noise(4, 7)))
    rows = listed(spark, table_at(root, "image"))
    assert [row["name"] for row in rows] == sorted(str(path.relative_to(root)) for path in root.rglob("*.png"))
    assert {row["class_name"] for row in rows} == {ODD, "b"}
    for row in rows:
        pixels = np.load(io.BytesIO(row["content"]), allow_pickle=False)
        expected = np.asarray(Image.open(root / row["name"]))
        assert pixels.dtype == np.uint8
        assert (pixels == expected.reshape(pixels.shape)).all()


def test_image_layout_with_alpha_is_composed_as_the_file_is(spark, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(file := encoded(noise(6, 5, 4)))
    [row] = listed(spark, table_at(tmp_path, "image"))
    assert (decode(bytes(row["content"]), 3) == decode(file, 3)).all()


def test_what_java_cannot_decode_is_listed_with_the_files_bytes(spark, tmp_path):
    (tmp_path / "a b").mkdir()
    files = {"1.webp": encoded(noise(6, 5, 3), "WEBP"), "2.png": PNGS[0][:40], "3.jpg": b"no image"}
    for name, content in files.items():
        (tmp_path / "a b" / name).write_bytes(content)
    rows = listed(spark, table_at(tmp_path, "image"))
    assert [bytes(row["content"]) for row in rows] == list(files.values())


def test_image_structs_leave_the_worker_in_batches_of_bounded_size(monkeypatch):
    monkeypatch.setattr("convoy.dataset.sources.table._OUTPUT_BYTES", 1000)
    struct = {"origin": "o", "height": 10, "width": 10, "nChannels": 3, "mode": 16, "data": bytes(300)}
    rows = [{"path": "p", "name": str(i), "class_name": "a", "split": None, "content": struct} for i in range(10)]
    batches = list(encode_structs([pa.RecordBatch.from_pylist(rows)]))
    assert [batch.num_rows for batch in batches] == [3, 3, 3, 1]
    assert [name for batch in batches for name in batch.column("name").to_pylist()] == [str(i) for i in range(10)]


def test_table_of_paths_names_files_beside_it(spark, tmp_path):
    root = odd_folder(tmp_path / "images")
    files = sorted(root.rglob("*.png"))
    given = [str(files[0].relative_to(tmp_path)), str(files[1]), files[2].as_uri(), f"file:{files[3]}"]
    source = table_at(write(tmp_path / "t.parquet", file=given, label=list("abab")), path="file")
    listing = source.listing(spark)
    assert "content" not in listing.columns
    rows = {row.class_name + row.name: row for row in listing.collect()}
    assert len(rows) == 4
    assert {source.read(row.path) for row in rows.values()} == {file.read_bytes() for file in files[:4]}
    assert all("file:" not in row.name and row.name.endswith("100%41+.png") for row in rows.values())


def test_csv_and_catalog_tables(spark, tmp_path):
    (tmp_path / "t.csv").write_text('path,label\n"a, ""b"".png",x\n/c.png,y\n')
    rows = listed(spark, table_at(tmp_path / "t.csv", "csv"))
    assert [(row["path"], row["class_name"]) for row in rows] == [("/c.png", "y"), (str(tmp_path / 'a, "b".png'), "x")]
    spark.read.parquet(str(write(tmp_path / "t", content=PNGS, label=list("abab")))).createOrReplaceTempView(
        "sources_t"
    )
    assert table_at("sources_t").classes(spark) == ["a", "b"]
    assert table_at("sources_t").describe() == {"kind": "table", "path": "sources_t"}


@pytest.mark.parametrize(
    ("columns", "given", "said"),
    [
        ({"content": PNGS}, {}, r"has no labels \('label'\); its columns are 'content'"),
        ({"label": [1] * 4}, {}, r"neither images \('image'\) nor paths \('path'\); its columns are 'label'"),
        (
            {"content": PNGS, "label": [1] * 4},
            {"image": "jpg"},
            r"no column 'jpg' \(source\.columns\.image\); .*'content'",
        ),
        ({"content": PNGS, "labels": [1] * 4}, {"label": "lables"}, r"no column 'lables' .*did you mean 'labels'"),
        ({"content": ["x"] * 4, "label": [1] * 4}, {}, r"is of type string; expected encoded bytes \(binary\)"),
        ({"content": [[[1, 2]]] * 4, "label": [1] * 4}, {}, r"is of type array<array<bigint>>; expected encoded bytes"),
        (
            {"content": PNGS, "label": [[1]] * 4},
            {},
            r"column 'label' is of type array<bigint>; expected strings or numbers",
        ),
        ({"content": PNGS, "label": ["a", "b", None, "a"], "path": list("wxyz")}, {}, "row 'y' has no label"),
        ({"content": PNGS, "label": ["a", "b", "a/b", "a"]}, {}, "a row has the label 'a/b'; expected a plain name"),
        ({"content": PNGS, "label": [1.0, 2.0, float("nan"), 1.0]}, {}, "has no label"),
        ({"content": PNGS, "label": [1] * 4, "split": ["x"] * 4}, {}, "has the split 'x'; expected one of train"),
        ({"path": ["1", "2", None, "3"], "label": [1] * 4}, {}, "a row of class '1' has no path"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_one_line(spark, tmp_path, columns, given, said):
    with pytest.raises(SourceError, match=said) as caught:
        table_at(write(tmp_path / "t", **columns), **given).classes(spark)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/no/such", None, r"Path does not exist.*; expected a path that Spark reads as parquet \(source\.format\)"),
        ("no_such.table", None, r"no_such.*cannot be found.*; expected the name of a catalog table, or a path"),
        ("no such", None, "expected the name of a catalog table, or a path"),
        ("/tmp", "delta", r"delta.*; a format that Spark does not have needs its jar: see spark\.jars\.packages"),
        ("/tmp", "nosuch", r"nosuch.*needs its jar"),
    ],
)
def test_table_that_spark_cannot_read_is_said_in_one_line(spark, path, kind, said):
    with pytest.raises(SourceError, match=said) as caught:
        table_at(path, kind).classes(spark)
    assert "\n" not in str(caught.value)


def test_file_that_is_no_parquet_is_said_in_one_line(spark, tmp_path):
    (tmp_path / "t.parquet").write_bytes(PNGS[0])
    with pytest.raises(
        SourceError, match=r"is not a Parquet file.*; expected a path that Spark reads as parquet"
    ) as caught:
        table_at(tmp_path / "t.parquet").classes(spark)
    assert "\n" not in str(caught.value)


def test_table_without_a_path_is_said():
    with pytest.raises(ConfigError, match=r"source\.kind table needs a path that Spark reads or the name"):
        source_of(SourceConfig("table"))


@pytest.mark.parametrize(
    "kind", ["image", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("binaryFile", None))]
)
def test_ingest_stores_what_the_table_holds(spark, tmp_path, kind):
    write_images(tmp_path / "images", {"cat": 60, "dog": 60}, (6, 5, 3))
    files = sorted((tmp_path / "images").rglob("*.png"))
    source = table_at(tmp_path / "images", kind)
    if kind is None:
        names = [str(file.relative_to(tmp_path / "images")) for file in files]
        source = table_at(write(tmp_path / "t", content=[file.read_bytes() for file in files], path=names))
    config = DatasetConfig(root=str(tmp_path / "data"), image=ImageConfig(6, 5, 3, "none"), max_bad_fraction=0)
    result = ingest(spark, source, config, lambda *_: None)
    assert result.manifest.classes == ["cat", "dog"]
    assert sum(result.manifest.rows().values()) == 120
    for split in result.manifest.splits:
        paths = pq.read_table(result.path / split, columns=["path"]).column("path").to_pylist()
        data = read_split(result.path, result.manifest, split)
        for path, pixels, label in zip(paths, data.images, data.labels, strict=True):
            assert (pixels == np.asarray(Image.open(tmp_path / "images" / path))).all()
            assert result.manifest.classes[label] == path.split("/")[0]
