"""Labels as people have them: text stays text, names are used, and what is no class is refused with what to use."""

import datetime
import json
import unicodedata
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convoy.config import ColumnsConfig, DatasetConfig, ImageConfig, SourceConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.ingest.checks import check_scan
from convoy.dataset.ingest.scan import Scan
from convoy.dataset.sources import source_of
from convoy.dataset.sources.hugging_face import class_label_names
from convoy.dataset.sources.labels import check_class_names, check_labels, combined, label_warnings
from convoy.dataset.sources.manifest_file import inspect_file
from convoy.dataset.sources.paths import read_file
from convoy.dataset.sources.rows import resolved
from convoy.dataset.storage.manifest import Duplicates
from convoy.errors import SourceError
from tests.field.inputs import labels
from tests.field.inputs.layouts import write


def source(kind, path, format=None, /, **columns):
    return source_of(SourceConfig(kind, str(path), format, ColumnsConfig(**columns)))


def refused(spark, source):
    with pytest.raises(SourceError) as caught:
        source.classes(spark)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows(spark, source):
    return sorted((row.name, row.class_name) for row in source.listing(spark).select("name", "class_name").collect())


def counts(values):
    return {value: values.count(value) for value in values}


COMBINED = {
    "bars": labels.chest_findings(),
    "commas": ["a", "b", "a,b", "c"],
    "semicolons with spaces": ["a", "b", "a; b"],
    "both orders": ["x,y", "y,x", "z"],
    "lists": ["['a', 'b']", "['a']"],
    "JSON": ['["a"]', '["b"]'],
    "one-hot": ["[0, 1]", "[1, 0]"],
    "ids": ["16 0", "7 1 2 0", "5"],
    "a list of one": ["['cat']", "dog"],
    "words": ["clear", "haze", "road", "clear road", "clear haze", "haze road"],
}


@pytest.mark.parametrize("case", COMBINED)
def test_several_labels_in_one_are_recognised(case):
    with pytest.raises(SourceError, match=r"seems to hold several classes; .*use a column with one label"):
        check_labels(counts(COMBINED[case]), "manifest 'm.csv'")


@pytest.mark.parametrize(
    "names",
    [
        ["tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark"],
        ["hot dog", "dog", "hot"],
        ["Tomato, healthy", "Tomato, late blight", "Potato, healthy", "Potato, late blight"],
        ["polar bear", "brown bear", "black bear", "panda"],
        ["C++", "C", "R&B", "salt & pepper", "AT&T"],
        ["with_mask", "without_mask", "(none)", "mask (blue)", "[unknown]", "{other}"],
        ["3+4", "4+3", "3+3", "4+4", "0+0", "negative"],  # Gleason scores
        ["!", "(", ")", "+", ",", "-", "0", "=", "[", "]", "{", "}", "|", "&", ";", " 1"],  # handwritten signs
        [f"{colour} {animal}" for colour in ("red", "green", "blue") for animal in ("cat", "dog", "bird", "fish")],
    ],
)
def test_names_of_several_words_are_names(names):
    assert combined(names) is None


AGES = [f"{age:.1f}" for age in np.random.default_rng(0).uniform(1, 90, 60)]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (AGES, r"different numbers in 60 rows, .*regression is not supported: group them"),
        (AGES * 10, r"different numbers in 600 rows"),
        ([str(20 + i * i % 97) for i in range(200)], "49 different numbers in 200 rows"),
        ([str(i * 7 % 100) for i in range(40)], "40 different numbers in 40 rows"),
        ([f"1e{i}" for i in range(30)], "different numbers"),
        ([f"patient {i}" for i in range(30)], "30 different labels in 30 rows, .*is source.columns.label the right"),
        (
            [str(person * 7) for person in range(40)] * 3,
            "if they are ids of classes, write them as text",
        ),
        (["2024-01-02 10:00:00", "2024-01-03T11:00:00Z"], "the labels are times"),
    ],
)
def test_values_and_names_of_single_images_are_recognised(values, said):
    with pytest.raises(SourceError, match=said):
        check_labels(counts(values), "table 't'")


@pytest.mark.parametrize(
    "values",
    [
        [str(i % 100) for i in range(300)],
        [str(i % 50 * 2) for i in range(1000)],
        [f"{i % 5 / 2}" for i in range(100)],
        ["2019", "2020"] * 20,
        [f"id-{i}" for i in range(7)],
        ["007", "7", "0012"] * 2,
        [f"{person * 7:04d}" for person in range(40)] * 3,  # as Market-1501 names people
    ],
)
def test_numbers_that_are_classes_are_classes(values):
    check_labels(counts(values), "table 't'")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cat", "cat "], "look the same"),
        (["big cat", "big  cat"], "look the same"),
        (["caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")], r"'caf\\xe9' and|'cafe\\u0301' and"),
        (["cat", "cat\u200b"], "look the same"),
        (["cat", "\ufeffcat"], "look the same"),
        (["T-shirt", "T\u2011shirt"], "look the same"),
        (["18-25", "18\u201325"], "look the same"),
        (["Baker's", "Baker\u2019s"], "look the same"),
        (["\u2764", "\u2764\ufe0f"], "look the same"),
        (["MOCKBA", "\u041c\u041e\u0421\u041a\u0412\u0410"], "look the same"),
        (["1", "1.0"], "the same number"),
        (["7.00", "7", "8"], "the same number"),
    ],
)
def test_classes_that_nobody_can_tell_apart_are_refused(names, said):
    with pytest.raises(SourceError, match=said):
        check_class_names(names)


def test_classes_that_differ_visibly_are_kept():
    check_class_names(["\u0410", "\u0391", "x2", "x\u00b2", "O", "0", "\u0414\u041e\u041c", "HOM"])  # alphabets
    check_class_names(["Cat", "cat", "a", "A", "007", "7", "1e5", "100000", "1.5", "1.50", "true", "True"])


def test_unusual_names_are_warned_of():
    assert [line.split("'")[1] for line in label_warnings(["nan", "cat", " dog"])] == ["nan", " dog"]
    assert len(list(label_warnings([str(age) for age in range(18, 99, 2)]))) == 1
    assert list(label_warnings([str(i) for i in range(100)])) == []
    [line] = label_warnings(["patient00001", "patient00002"])
    assert "e.g. 'patient00001'" in line
    assert list(label_warnings(["slide", "case 1"])) == []


def scan(**classes):
    counts = {(split, name): 1 for split, names in classes.items() for name in names}
    return Scan(None, counts, {}, "", Duplicates(0, 0, 0), False, {}, frozenset(classes))


@pytest.mark.parametrize(
    ("train", "validation", "said"),
    [
        (["Cat", "Dog"], ["cat", "Dog"], "the split validation has the class 'cat', and training has 'Cat'"),
        (["hot dog", "cat"], ["hot_dog", "cat"], "has the class 'hot_dog', and training has 'hot dog'"),
        (["1", "2", "10"], ["01", "2", "10"], "has the class '01', and training has '1'"),
        (["n01", "n02"], ["tench", "shark"], "no class of the split validation, such as 'shark', has training"),
        (
            ["good"],
            ["good", "broken"],
            "training images of one class, 'good', and none of the others, such as 'broken'",
        ),
    ],
)
def test_splits_with_other_classes_are_refused(train, validation, said):
    with pytest.raises(SourceError, match=said):
        check_scan(scan(train=train, validation=validation), sorted({*train, *validation}))


@pytest.mark.parametrize("validation", [["a", "A"], ["a"], ["a", "bird"], ["1", "10"]])
def test_splits_with_some_classes_of_training_are_kept(validation):
    train = ["a", "A", "1", "10", "100"]
    check_scan(scan(train=train, validation=validation), sorted({*train, *validation}))


def test_drawn_splits_of_few_images_are_kept(capsys):
    drawn = replace(scan(train=["a"], validation=["b"]), given=frozenset())
    check_scan(drawn, ["a", "b"])
    assert "warning: class 'b' has no training images" in capsys.readouterr().err


@pytest.mark.spark
def test_labels_of_folders_like_partitions_are_text(spark, tmp_path):
    values = ["007", "7", "0012", "1e5", "100000", "1.0", "2024-1-2", "a%20b"]
    table = source("table", labels.partitions(tmp_path / "files", values), "binaryFile")
    expected = [*values[:-1], "a b"]
    assert table.classes(spark) == sorted(expected)
    assert sorted({name for _, name in rows(spark, table)}) == sorted(expected)
    assert spark.conf.get("spark.sql.sources.partitionColumnTypeInference.enabled") == "true"
    for i, value in enumerate(("01", "1", "1e0")):
        (tmp_path / "parquet" / f"label={value}").mkdir(parents=True)
        pq.write_table(pa.table({"content": [labels.image(i)]}), tmp_path / "parquet" / f"label={value}" / "p.parquet")
    assert source("table", tmp_path / "parquet").classes(spark) == ["01", "1", "1e0"]


@pytest.mark.spark
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["007", "7", "1e5", "100000"], ["007", "100000", "1e5", "7"]),
        ([7, 100000], ["7", "100000"]),
        ([7.0, 1e5, -0.0], ["0", "7", "100000"]),
        ([0.5, 1.0], ["0.5", "1"]),
        ([1e19, 2e19, 2.0**53 - 1], ["1.0E19", "2.0E19", "9007199254740991"]),
        ([Decimal("9007199254740993.0"), Decimal("9007199254740992.0")], ["9007199254740992", "9007199254740993"]),
        ([Decimal(10**30), Decimal(10**30 + 1)], [str(10**30), str(10**30 + 1)]),
        ([True, False], ["false", "true"]),
        ([b"cat", b"dog"], ["cat", "dog"]),
        ([datetime.date(2024, 1, 2), datetime.date(2024, 1, 3)], ["2024-01-02", "2024-01-03"]),
    ],
)
def test_typed_labels_have_one_text(spark, tmp_path, values, expected):
    pq.write_table(pa.table({"path": [f"{i}" for i in range(len(values))], "label": values}), tmp_path / "m.parquet")
    assert source("manifest", tmp_path / "m.parquet").classes(spark) == expected


@pytest.mark.spark
def test_times_lists_and_other_encodings_are_refused(spark, tmp_path):
    paths = ["1", "2"]
    times = pa.array(np.array(["2024-01-02", "2024-01-03"], "datetime64[us]"))
    pq.write_table(pa.table({"path": paths, "label": times}), tmp_path / "times.parquet")
    assert "is of type timestamp" in refused(spark, source("table", tmp_path / "times.parquet"))
    pq.write_table(pa.table({"path": paths, "label": [["a"], ["a", "b"]]}), tmp_path / "lists.parquet")
    assert "models with several labels" in refused(spark, source("manifest", tmp_path / "lists.parquet"))
    rows = ["path,label", *(f"{i}.png,cat" for i in range(3000)), "x.png,café"]
    (tmp_path / "latin.csv").write_bytes("\n".join(rows).encode("latin-1"))
    assert "save the file as UTF-8" in refused(spark, source("manifest", tmp_path / "latin.csv"))
    (tmp_path / "short.csv").write_bytes("path,label\nx.png,café\n".encode("latin-1"))
    with pytest.raises(SourceError, match=r"expected a CSV \(UTF-8\)"):
        source("manifest", tmp_path / "short.csv")


@pytest.mark.spark
def test_combined_labels_and_ages_of_manifests_are_refused(spark, tmp_path):
    findings = labels.manifest(tmp_path / "m.csv", labels.chest_findings())
    assert "use a column with one label, such as 'Effusion' (source.columns.label)" in refused(
        spark, source("manifest", findings)
    )
    assert "regression is not supported" in refused(
        spark, source("manifest", labels.manifest(tmp_path / "a.csv", AGES))
    )


def test_ages_in_arrays_are_refused(tmp_path):
    ages = np.random.default_rng(0).permutation(60)
    np.savez(tmp_path / "a.npz", images=np.zeros((60, 4, 4), np.uint8), labels=ages)
    with pytest.raises(SourceError, match="60 different numbers in 60 rows"):
        source("arrays", tmp_path / "a.npz")


@pytest.mark.spark
def test_path_with_several_labels_is_refused(spark, tmp_path):
    (tmp_path / "m.csv").write_text("path,label\n1.png,a\n2.png,b\n1.png,b\n2.png,b\n")
    for found in (source("manifest", tmp_path / "m.csv"), source("table", tmp_path / "m.csv", "csv")):
        assert "1 images have several labels, e.g. '1.png': 'a' and 'b'" in refused(spark, found)


def run(spark, found, out):
    config = DatasetConfig(root=str(out), image=ImageConfig(6, 5, 3), max_bad_fraction=0.5, validation_fraction=0.2)
    return ingest(spark, found, config, lambda *_: None)


@pytest.mark.long
@pytest.mark.spark
def test_content_in_several_classes_is_refused_unless_it_is_no_image(spark, tmp_path):
    write(tmp_path / "images", "a", "b", n=8)
    for name in "ab":
        (tmp_path / "images" / name / "page.png").write_bytes(b"<html>404</html>")
    result = run(spark, source("folder", tmp_path / "images"), tmp_path / "data")
    assert result.manifest.quarantined == 2
    (tmp_path / "images" / "b" / "copy.png").write_bytes((tmp_path / "images" / "a" / "0.png").read_bytes())
    with pytest.raises(
        SourceError, match=r"in more than one class: 1, e\.g\. 'a/0\.png' \(class 'a'\) and 'b/copy\.png'"
    ):
        run(spark, source("folder", tmp_path / "images"), tmp_path / "data")
    contents = [labels.image(i) for i in (*range(20), 0)]
    pq.write_table(pa.table({"content": contents, "label": [*"ab" * 10, "b"]}), tmp_path / "t.parquet")
    with pytest.raises(SourceError, match="in more than one class: 1"):
        run(spark, source("table", tmp_path / "t.parquet"), tmp_path / "data")


@pytest.mark.parametrize("where", ["footer", "dataset_info.json", "README.md"])
def test_names_of_hugging_face_are_found(tmp_path, where):
    path = labels.hugging_face(tmp_path / "animals" / "data" / "train.parquet", where)
    assert class_label_names(str(path), "label") == ["dog", "cat"]
    assert class_label_names(str(path.parent), "label") == ["dog", "cat"]
    assert class_label_names(f"{path.parent}/*.parquet", "label") == ["dog", "cat"]
    assert class_label_names(str(path), "image") is None


@pytest.mark.spark
def test_names_of_hugging_face_are_the_classes_in_their_order(spark, tmp_path):
    path = labels.hugging_face(tmp_path / "train.parquet", names=("dog", "cat", "bird"))
    found = source("table", path)
    assert found.classes(spark) == ["dog", "cat"]
    assert rows(spark, found)[:2] == [("0.png", "dog"), ("1.png", "cat")]
    labels.hugging_face(tmp_path / "test.parquet", labels=[0, 1, -1])
    assert "row '2.png' has the label '-1', which has no name" in refused(
        spark, source("table", tmp_path / "test.parquet")
    )


@pytest.mark.spark
def test_splits_in_names_of_files_are_splits(spark, tmp_path):
    for split in ("train", "validation", "test"):
        labels.hugging_face(tmp_path / "data" / f"{split}-00000-of-00001.parquet", labels=[0, 1] * len(split))
    found = source("table", tmp_path / "data")
    assert found.classes(spark) == ["dog", "cat"]
    assert found.splits(spark) == {"train", "validation", "test"}
    listed = found.listing(spark).groupBy("split").count().collect()
    assert {row.split: row["count"] for row in listed} == {"train": 10, "validation": 20, "test": 8}
    for one in ("test", "train"):
        assert source("table", tmp_path / "data" / f"{one}-*.parquet").splits(spark) == set()
    labels.hugging_face(tmp_path / "data" / "more.parquet")
    with pytest.raises(SourceError, match=r"has files of splits, .* beside them 'more\.parquet'"):
        source("table", tmp_path / "data").classes(spark)


@pytest.mark.spark
@pytest.mark.parametrize("write_rows", ["csv", "parquet"])
@pytest.mark.parametrize("kind", [int, float])
def test_column_of_names_beside_numbers_is_used(spark, tmp_path, write_rows, kind):
    two, ten = kind(2), kind(10)  # pandas writes 2.0 if other rows have none
    path, given = tmp_path / f"m.{write_rows}", [("1.png", two, "ant"), ("2.png", ten, "bee"), ("3.png", two, "ant")]
    if write_rows == "csv":
        lines = "".join(f"{file},{number},{name}\n" for file, number, name in given)
        path.write_text(f"path,label,label_name\n{lines}")
    else:
        table = dict(zip(("path", "label", "label_name"), map(list, zip(*given, strict=True)), strict=True))
        pq.write_table(pa.table(table), path)
    found = source("manifest", path)
    assert found.classes(spark) == ["ant", "bee"]
    assert [name for _, name in rows(spark, found)] == ["ant", "bee", "ant"]
    assert source("manifest", path, label="label_name").classes(spark) == ["ant", "bee"]


@pytest.mark.spark
@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["1.png,1,ant", "2.png,1,bee"], "the label '1' has the names"),
        (["1.png,1,ant", "2.png,2,ant"], "the labels '1' and '2' have the same name, 'ant'|'2' and '1'"),
        (["1.png,1,ant", "2.png,2,"], "row '2.png' has the label '2', which has no name"),
    ],
)
def test_names_that_do_not_belong_to_one_number_are_refused(spark, tmp_path, lines, said):
    (tmp_path / "m.csv").write_text("\n".join(["path,label,label_name", *lines]))
    with pytest.raises(SourceError, match=said):
        source("manifest", tmp_path / "m.csv").classes(spark)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\3\4" + bytes(50), "a spreadsheet: unpack it, or save it as CSV"),
        (b"\x1f\x8b" + bytes(50), "unpack it"),
        ("path,label\n".encode("utf-16"), "UTF-16: save it as UTF-8"),
        (b"path,label\n\0", "not text"),
        (b'{"images": [], "annotations": [], "categories": []}', "seems to be in the format of COCO"),
    ],
)
def test_files_that_are_no_text_are_named(tmp_path, content, said):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(SourceError, match=said):
        source("manifest", tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ('"path","label"', ["path", "label"]),
        ('\ufeff"path";"label"', ["path", "label"]),
        ("path,label,,", ["path", "label", "", "_c3"]),
        ("x,X,path,label", ["x", "_c1", "path", "label"]),
        ("Path,path,label", ["_c0", "path", "label"]),
        ("Path,PATH,label", ["Path", "PATH", "label"]),  # either may be meant: an error
        ("path,path,label", ["path", "path", "label"]),
        ("Split,split,path,label", ["_c0", "split", "path", "label"]),
        ('path, "label", a b ', ["path", "label", "a b"]),
    ],
)
def test_headers_with_quotes_and_columns_that_are_not_used(tmp_path, header, columns):
    (tmp_path / "m.csv").write_text(header + "\n", encoding="utf-8")
    assert inspect_file(str(tmp_path / "m.csv"), {"path", "label"}, {"split"}).columns == columns


@pytest.mark.spark
def test_csv_files_of_other_programs_are_read(spark, tmp_path):
    for i, text in enumerate(
        (
            '"path","label"\n"0.png","cat"\n"1.png","a ""big"" dog"\n',  # R
            ',path,label,,\n0,0.png,cat,,\n1,1.png,"a ""big"" dog",,\n',  # pandas, then a spreadsheet
            'path, label\n0.png, cat\n1.png, "a ""big"" dog"\n',
            'Path,path,label\nx,0.png,cat\ny,1.png,"a ""big"" dog"\n',
        )
    ):
        (tmp_path / f"{i}.csv").write_text(text)
        found = source("manifest", tmp_path / f"{i}.csv")
        assert found.classes(spark) == ['a "big" dog', "cat"]
        assert rows(spark, found) == [("0.png", "cat"), ("1.png", 'a "big" dog')]
        assert found.notes(spark) == []


@pytest.mark.spark
def test_columns_of_splits_that_are_not_used_and_of_weights_are_named(spark, tmp_path):
    (tmp_path / "m.csv").write_text("filepaths,labels,data set,weight\n0.png,cat,train,1\n1.png,dog,test,2\n")
    weights, unused = source("manifest", tmp_path / "m.csv", path="filepaths", label="labels").notes(spark)
    assert "sample weights from the column 'weight'" in weights
    assert unused.startswith("warning: the column 'data set' is not used")
    assert unused.endswith("--source.columns.split 'data set'")
    columns = {"path": "filepaths", "label": "labels", "split": "data set", "weight": None}
    assert source("manifest", tmp_path / "m.csv", **columns).notes(spark) == []
    table = source("table", tmp_path / "m.csv", "csv", **columns)
    assert table.splits(spark) == {"train", "test"}
    assert table.notes(spark) == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("ISIC_1", "ISIC_1.jpg exists"),
        ("sub\\1.png", "path of Windows"),
        ("C:\\x\\1.png", "path of Windows"),
        ("~/1.png", "expand ~"),
    ],
)
def test_paths_that_are_not_found_have_a_hint(tmp_path, path, said):
    (tmp_path / "ISIC_1.jpg").touch()
    with pytest.raises(OSError, match=said):
        read_file(f"{tmp_path}/{path}")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [("path", "label"), ("Path", "LABEL"), (" path", "label ")])
def test_csv_of_other_separators_and_headers_has_its_columns(tmp_path, separator, header):
    path = labels.manifest(tmp_path / "m.csv", ["a"], header, separator)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    found = inspect_file(str(path), {"path", "label"})
    names = [name.strip() for name in header]
    assert (found.kind, found.columns, found.separator) == ("csv", names, separator)
    assert found.spaced == (names != list(header))
    columns = resolved(ColumnsConfig(), found.columns)
    assert (columns.path, columns.label, columns.split) == (*names, "split")
    source("manifest", path)


def test_column_of_exactly_the_name_comes_first():
    assert resolved(ColumnsConfig(), ["Label", "label"]).label == "label"
    assert resolved(ColumnsConfig(), ["Label", "LABEL"]).label == "label"  # which is reported as missing


@pytest.mark.spark
@pytest.mark.parametrize("separator", [";", "\t"])
def test_csv_of_other_separators_is_read(spark, tmp_path, separator):
    path = labels.manifest(tmp_path / "m.csv", ["x, y", 'say "z"', "x, y"], ("Path", "LABEL "), separator)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    found = source("manifest", path)
    assert found.classes(spark) == ['say "z"', "x, y"]
    assert rows(spark, found) == [("0.png", "x, y"), ("1.png", 'say "z"'), ("2.png", "x, y")]
    assert {row.path for row in found.listing(spark).select("path").collect()} == {
        f"{tmp_path}/{i}.png" for i in range(3)
    }
    path.write_text(path.read_text(encoding="utf-8-sig") + f"9.png{separator}a{separator}b\n")
    assert "has more fields than the header has columns" in refused(spark, found)


@pytest.mark.spark
def test_json_lines(spark, tmp_path):
    path = tmp_path / "metadata.jsonl"
    given = [{"file_name": "a.png", "Label": 7, "split": "train"}, {"Label": 10, "file_name": "b.png"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in given))
    found = source("manifest", path, path="file_name")
    assert found.classes(spark) == ["7", "10"]
    assert found.splits(spark) == {"train"}
    assert [(row.path, row.name) for row in found.listing(spark).orderBy("name").collect()] == [
        (str(tmp_path / "a.png"), "a.png"),
        (str(tmp_path / "b.png"), "b.png"),
    ]
    path.write_text('{"path": "a", "label": "007"}\n{"path": "b", "label": "7"}\n{"path": "c", "la')
    with pytest.raises(SourceError, match=r"line 3 of metadata\.jsonl is not an object of JSON lines"):
        source("manifest", path)
    path.write_text('{"path": "a", "label": "007"}\n{"path": "b", "label": "7"}\n')
    assert source("manifest", path).classes(spark) == ["007", "7"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"path": "a", "label": 1}]', "is not an object of JSON lines"),
        ('{\n "images": []\n}', "is not an object of JSON lines"),
        ("file_name,label\n", "give --source.columns.path file_name"),
    ],
)
def test_other_lists_are_refused_with_what_to_do(tmp_path, text, said):
    (tmp_path / "m").write_text(text)
    with pytest.raises(SourceError, match=said):
        source("manifest", tmp_path / "m")


def test_commas_in_a_file_with_semicolons_are_text(tmp_path):
    (tmp_path / "m.csv").write_text('path;label\n"a, b.png";x, y\n')
    found = inspect_file(str(tmp_path / "m.csv"), {"path", "label"})
    assert (found.columns, found.separator) == (["path", "label"], ";")
