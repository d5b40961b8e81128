"""CSV and Parquet files that list images: read as they are written, and refused with the row that is wrong."""

import csv
import os
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convoy.config import ColumnsConfig, DatasetConfig, ImageConfig, SourceConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.sources import source_of
from convoy.errors import ConfigError, SourceError
from tests.spark_support import write_images


def source_at(file, /, **columns):
    return source_of(SourceConfig("manifest", str(file), columns=ColumnsConfig(**columns)))


def write_csv(path, header, *rows, newline="\r\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator=newline).writerows([header, *rows])
    return path


def write_parquet(path, header, *rows):
    columns = zip(*rows, strict=True) if rows else [[] for _ in header]
    pq.write_table(pa.table(dict(zip(header, map(list, columns), strict=True))), path)
    return path


def listed(spark, source):
    source = pickle.loads(pickle.dumps(source))
    return [tuple(row) for row in source.listing(spark).select("path", "name", "class_name", "split").collect()]


ODD = [
    "a b.png",
    'it\'s, "it".png',
    "große 猫.png",
    "two\nlines.png",
    "back\\slash.png",
    "100%20.png",
    " blank.png",
    "#1.png",
]


@pytest.mark.long
@pytest.mark.spark
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_csv_rows_are_read_as_python_wrote_them(spark, tmp_path, newline, bom):
    rows = [(name, f'class, "{i}"', "train") for i, name in enumerate(ODD)]
    path = write_csv(tmp_path / "odd [1] {2}, 100%41*" / "m.csv", ["path", "label", "split"], *rows, newline=newline)
    path.write_bytes(bom + path.read_bytes())
    source = source_at(path)
    assert source.classes(spark) == [f'class, "{i}"' for i in range(len(ODD))]
    assert listed(spark, source) == [(str(path.parent / name), name, label, "train") for name, label, _ in rows]


@pytest.mark.spark
def test_paths_are_relative_to_the_manifest_or_absolute_or_uris(spark, tmp_path):
    odd = tmp_path / "images" / "ü 100%41.png"
    odd.parent.mkdir()
    odd.write_bytes(b"pixels")
    given = ["../images/ü 100%41.png", str(odd), odd.as_uri(), f"file:{odd}"]
    source = source_at(write_csv(tmp_path / "lists" / "m.csv", ["path", "label"], *((path, "a") for path in given)))
    rows = listed(spark, source)
    assert [row[1] for row in rows] == given
    assert [source.read(row[0]) for row in rows] == [b"pixels"] * 4
    assert source.splits(spark) == set()


@pytest.mark.spark
@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_names_of_columns_are_settings_and_splits_are_known_by_their_names(spark, tmp_path, write):
    rows = [("1.png", "b", "Train", 7), ("2.png", "a", "VAL", 7), ("3.png", "b", " test ", 7), ("4.png", "a", None, 7)]
    source = source_at(
        write(tmp_path / "m", ["file.name", "kind", "fold", "x"], *rows), path="file.name", label="kind", split="fold"
    )
    assert source.classes(spark) == ["a", "b"]
    assert source.splits(spark) == {"train", "validation", "test"}
    assert [row[1:] for row in listed(spark, source)] == [
        ("1.png", "b", "train"),
        ("2.png", "a", "validation"),
        ("3.png", "b", "test"),
        ("4.png", "a", None),
    ]


@pytest.mark.spark
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7, 10, 9], ["7", "9", "10"]),
        ([7.0, 10.0, 9.0], ["7", "9", "10"]),
        ([0.5, 1.0, 1e15], ["0.5", "1", "1000000000000000"]),
        ([True, False, True], ["false", "true"]),
        (["07", "7", "x"], ["07", "7", "x"]),
    ],
)
def test_labels_of_any_type_become_text(spark, tmp_path, values, expected):
    path = write_parquet(
        tmp_path / "m.parquet", ["path", "label"], *((f"{i}.png", value) for i, value in enumerate(values))
    )
    assert source_at(path).classes(spark) == expected


@pytest.mark.long
@pytest.mark.spark
def test_ingest_quarantines_a_path_that_does_not_exist_and_goes_on(spark, tmp_path):
    write_images(tmp_path / "images", {"cat": 60, "dog": 60})
    files = sorted(path.relative_to(tmp_path) for path in (tmp_path / "images").rglob("*.png"))
    rows = [(str(file), file.parent.name, "test" if i % 4 == 0 else "train") for i, file in enumerate(files)]
    rows.append(("images/cat/none.png", "cat", "train"))
    rows.append(("images/cat", "cat", "train"))
    path = write_csv(tmp_path / "m.csv", ["path", "label", "split"], *rows)
    config = DatasetConfig(root=str(tmp_path / "data"), image=ImageConfig(6, 5, 1), max_bad_fraction=0.05)
    result = ingest(spark, source_at(path), config, lambda *_: None)
    assert sum(result.manifest.rows().values()) == 120
    assert result.manifest.rows()["test"] == 30
    bad = pq.read_table(result.path / "quarantine").to_pylist()
    assert sorted((row["path"], row["reason"]) for row in bad) == [
        ("images/cat", "unreadable"),
        ("images/cat/none.png", "unreadable"),
    ]
    placed = {
        row: split
        for split in result.manifest.splits
        for row in pq.read_table(result.path / split, columns=["path"]).column("path").to_pylist()
    }
    assert all((placed[name] == "test") == (split == "test") for name, _, split in rows[:-2])


WRONG = {
    "no label": (("3.png", None, "train"), r"row '3\.png' has no label"),
    "a blank label": (("3.png", "  ", "train"), r"row '3\.png' has no label"),
    "a slash": (("3.png", "a/b", "train"), r"row '3\.png' has the label 'a/b'; expected a plain name"),
    "dots": (("3.png", "..", "train"), r"row '3\.png' has the label '\.\.'; expected a plain name"),
    "a newline": (("3.png", "a\nb", "train"), r"has the label 'a\\nb'"),
    "an unknown split": (
        ("3.png", "a", "tset"),
        r"row '3\.png' has the split 'tset'; expected one of train.*mean 'test'",
    ),
    "no path": ((None, "b", "train"), "a row of class 'b' has no path"),
}


@pytest.mark.spark
@pytest.mark.parametrize("write", [write_csv, write_parquet])
@pytest.mark.parametrize("case", WRONG)
def test_row_that_is_wrong_is_named(spark, tmp_path, write, case):
    row, said = WRONG[case]
    good = [(f"{i}.png", "a", "train") for i in (1, 2)]
    source = source_at(write(tmp_path / "m", ["path", "label", "split"], *good, row))
    with pytest.raises(SourceError, match=said) as caught:
        source.classes(spark)
    assert "\n" not in str(caught.value)


@pytest.mark.spark
@pytest.mark.parametrize("kind", ["manifest", "table"])
@pytest.mark.parametrize(
    ("row", "over"), [("a, b.png,cat,train", "train"), ("b.png,cat,train,,,left", "left"), ('b.png,c,"",d,e,f', "d")]
)
def test_row_with_more_fields_than_the_header_is_named(spark, tmp_path, kind, row, over):
    """Spark alone would take `a` for the path and ` b.png` for the label, and leave the rest out."""
    path = tmp_path / "m.csv"
    path.write_text(f"path,label,split\n1.png,cat,train\n{row}\n2.png,dog,test\n")
    source = source_of(SourceConfig(kind, str(path), "csv" if kind == "table" else None))
    said = rf"row '{row.partition(',')[0]}' has more fields than the header has columns \(3\), '{over}' is left over"
    with pytest.raises(SourceError, match=said) as caught:
        source.classes(spark)
    assert "\n" not in str(caught.value)


@pytest.mark.spark
@pytest.mark.parametrize("kind", ["manifest", "table"])
def test_rows_with_fewer_fields_or_blank_ones_at_the_end_are_read(spark, tmp_path, kind):
    path = tmp_path / "m.csv"
    path.write_text('path,label,split\n"a, b.png",cat\n2.png,dog,test,,\n')
    source = source_of(SourceConfig(kind, str(path), "csv" if kind == "table" else None))
    assert source.classes(spark) == ["cat", "dog"]
    assert [row[1:] for row in listed(spark, source)] == [("a, b.png", "cat", None), ("2.png", "dog", "test")]


@pytest.mark.spark
@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_manifest_without_rows_is_said(spark, tmp_path, write):
    path = write(tmp_path / "m", ["path", "label"])
    if write is write_parquet:
        pq.write_table(pa.schema([("path", pa.string()), ("label", pa.string())]).empty_table(), path)
    with pytest.raises(SourceError, match="has no rows"):
        source_at(path).classes(spark)


@pytest.mark.spark
def test_unique_labels_are_taken_for_a_wrong_column(spark, tmp_path, monkeypatch):
    monkeypatch.setattr("convoy.dataset.sources.rows.MAX_CLASSES", 5)
    path = write_csv(tmp_path / "m.csv", ["path", "label"], *((f"{i}.png", f"id-{i}") for i in range(7)))
    with pytest.raises(SourceError, match=r"over 5 different labels; is source\.columns\.label the right column"):
        source_at(path).classes(spark)


@pytest.mark.spark
def test_damaged_parquet_is_said_in_one_line(spark, tmp_path):
    path = write_parquet(tmp_path / "m.parquet", ["path", "label"], *((f"{i}.png", "abc" * i) for i in range(500)))
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"manifest .* cannot be read: .+; is it on every node, and whole") as caught:
        source_at(path).classes(spark)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("write", [write_csv, write_parquet])
@pytest.mark.parametrize(
    ("header", "columns", "said"),
    [
        (
            ["path", "labels"],
            {},
            r"no column 'label' \(source\.columns\.label\); its columns are 'path', 'labels'; did you mean",
        ),
        (["file", "label"], {}, r"no column 'path' \(source\.columns\.path\); its columns are 'file', 'label'"),
        (["path", "label"], {"label": "kind"}, r"no column 'kind'"),
        (["path", "label"], {"split": "fold"}, r"no column 'fold' \(source\.columns\.split\)"),
        (["path:label"], {}, "its columns are 'path:label'"),
    ],
)
def test_missing_column_is_said_before_any_work(tmp_path, write, header, columns, said):
    path = write(tmp_path / "m", header, ["1.png"] * len(header))
    with pytest.raises(SourceError, match=said) as caught:
        source_at(path, **columns)
    assert "\n" not in str(caught.value)


def test_column_that_is_there_twice_is_said(tmp_path):
    with pytest.raises(SourceError, match="has more than one column 'label'"):
        source_at(write_csv(tmp_path / "m.csv", ["path", "label", "label"]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no column 'path' .*its columns are none"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "expected a CSV"),
        (b"PAR1 and no more", "expected a CSV"),
        (b"path,label\n"[:0] + b'"path,label\n1.png,a\n', "expected a CSV"),
    ],
)
def test_file_that_is_no_manifest_is_said(tmp_path, content, said):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(SourceError, match=said) as caught:
        source_at(tmp_path / "m.csv")
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_said(tmp_path):
    with pytest.raises(SourceError, match="does not exist; expected a CSV, JSON lines or Parquet file"):
        source_at(tmp_path / "none.csv")
    with pytest.raises(SourceError, match="is a folder; expected a CSV, JSON lines or Parquet file"):
        source_at(tmp_path)
    with pytest.raises(SourceError, match=r"is a URL; .* use source\.kind table"):
        source_at("gs://bucket/m.csv")
    with pytest.raises(ConfigError, match=r"source\.kind manifest needs the CSV, JSON lines or Parquet file"):
        source_of(SourceConfig("manifest"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_manifest_that_may_not_be_read_is_said(tmp_path):
    path = write_csv(tmp_path / "m.csv", ["path", "label"])
    path.chmod(0)
    with pytest.raises(SourceError, match="Permission denied"):
        source_at(path)
