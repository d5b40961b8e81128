"""Folders as people have them: splits are splits, classes are classes, and what is neither is counted and named."""

import os
import pathlib
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convoy.config import Config, DatasetConfig, ImageConfig, ScoringConfig, SourceConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.sources import source_of
from convoy.dataset.sources.files import Ignored, files_below, files_matching, list_ignored
from convoy.dataset.sources.folder_layout import read_layout
from convoy.dataset.sources.side_files import SIDE_PATH, is_side_file, is_side_folder, without_side_files
from convoy.dataset.sources.split_names import split_name, splits_among
from convoy.errors import SourceError
from convoy.inference.sinks.write import score_to_output
from convoy.inference.sources import check_input, input_notes, list_input
from tests.field.inputs import layouts
from tests.inference.packages import package


def read(root):
    """(split, class) -> folder, below the root; and the notes."""
    found = source_of(SourceConfig("folder", str(root)))._layout
    folders = {(split, name): os.path.relpath(where, root) for split, name, where in found.class_folders}
    assert len(folders) == len(found.class_folders)
    return folders, found.notes


def refused(root):
    with pytest.raises(SourceError) as caught:
        source_of(SourceConfig("folder", str(root)))
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Training", "Testing"), {"Training": "train", "Testing": "test"}),
        (("training_set", "test_set"), {"training_set": "train", "test_set": "test"}),
        (("TrainSet", "ValSet", "TestSet"), {"TrainSet": "train", "ValSet": "validation", "TestSet": "test"}),
        (("trainset", "testdata"), {"trainset": "train", "testdata": "test"}),
        (("train2017", "val2017"), {"train2017": "train", "val2017": "validation"}),
        (("seg_train", "seg_test", "seg_pred"), {"seg_train": "train", "seg_test": "test", "seg_pred": "unlabelled"}),
        (("asl_alphabet_train", "asl_alphabet_test"), {"asl_alphabet_train": "train", "asl_alphabet_test": "test"}),
        (("01 TRAIN", "02 DEV"), {"01 TRAIN": "train", "02 DEV": "validation"}),
        (("train", "eval"), {"train": "train", "eval": "validation"}),
        (
            ("training", "validation", "evaluation"),
            {"training": "train", "validation": "validation", "evaluation": "test"},
        ),
        (("images_train", "images_valid"), {"images_train": "train", "images_valid": "validation"}),
        (("steam train", "bullet train", "test tube"), {}),
        (("trains", "tests", "contest", "value", "device"), {}),
        (("cat", "猫", "8"), {}),
    ],
)
def test_names_of_splits(names, expected):
    assert splits_among(names) == expected


def test_name_with_two_splits_stands_for_none():
    assert split_name("train_test") is None


@pytest.mark.parametrize("below", ["", "images", "data/images"])
@pytest.mark.parametrize("names", [("training_set", "test_set"), ("Train", "valid"), ("x_train", "x_dev", "x_test")])
def test_splits_of_other_names_with_or_without_further_levels(tmp_path, names, below):
    layouts.splits(tmp_path, names, below=below)
    folders, [line] = read(tmp_path)
    assert folders == {
        (split_name(name).split, label): os.path.normpath(os.path.join(name, below, label))
        for name in names
        for label in ("cat", "dog")
    }
    assert all(os.path.join(name, below).rstrip("/") in line for name in names)


def test_splits_in_a_folder_of_the_same_name(tmp_path):
    folders, [line] = read(layouts.kaggle_doubled(tmp_path))
    assert set(folders) == {("train", "cat"), ("train", "dog"), ("test", "cat"), ("test", "dog")}
    assert folders["test", "dog"] == "test_set/test_set/dog"
    assert "train from 'training_set/training_set', test from 'test_set/test_set'; 2 classes: cat, dog" in line


def test_split_with_one_class_is_not_taken_for_a_further_level(tmp_path):
    layouts.write(tmp_path, "train/a/2023", "train/a/2024", "train/b", "test/a/2023", "test/a/2024")
    assert set(read(tmp_path)[0]) == {("train", "a"), ("train", "b"), ("test", "a")}


@pytest.mark.parametrize("below", ["", "/images", "/test", "/unknown"])
def test_split_without_class_folders_is_counted_and_named(tmp_path, below):
    layouts.write(tmp_path, "train/a", "train/b")
    layouts.write(tmp_path, f"test{below}", n=12)
    folders, notes = read(tmp_path)
    assert set(folders) == {("train", "a"), ("train", "b")}
    [warning] = [note for note in notes if note.startswith("warning")]
    assert f"left out 12 files in 'test{below}', for test" in warning
    assert "scoring.input" in warning


def test_folder_for_predictions_is_left_out(tmp_path):
    folders, notes = read(layouts.intel_scenes(tmp_path))
    assert set(folders) == {(split, name) for split in ("train", "test") for name in ("forest", "sea")}
    assert any("left out 3 files in 'seg_pred/seg_pred', without a class" in note for note in notes)


def test_tiny_imagenet(tmp_path):
    folders, notes = read(layouts.tiny_imagenet(tmp_path))
    assert set(folders) == {("train", "n01"), ("train", "n02")}
    assert sum("left out 3 files" in note for note in notes) == 2


def test_splits_below_classes_are_splits(tmp_path):
    folders, [line] = read(layouts.splits_below_classes(tmp_path))
    assert folders == {
        (s, c): f"{c}/{t}" for s, t in (("train", "train"), ("validation", "val")) for c in ("cat", "dog")
    }
    assert "splits below the classes: train, validation; 2 classes" in line


def test_loose_files_are_counted_and_named(tmp_path):
    layouts.write(tmp_path, "train/a", "train/b")
    layouts.write(tmp_path, "", "train", n=3)
    (tmp_path / "README.md").write_text("x")
    folders, notes = read(tmp_path)
    assert len(folders) == 2
    warnings = [note for note in notes if note.startswith("warning")]
    assert len(warnings) == 2
    assert all("left out 3 files beside the class folders" in warning for warning in warnings)


def test_folder_without_images_beside_splits_is_named(tmp_path):
    layouts.splits(tmp_path, ("train", "test"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "paper.pdf").write_bytes(b"x")
    folders, notes = read(tmp_path)
    assert len(folders) == 4
    assert "warning: 'docs' is left out: it has no images" in notes


def test_parent_of_the_right_folder_is_refused_with_the_folder_to_give(tmp_path):
    layouts.write(tmp_path, "flower_photos/rose", "flower_photos/tulip", "__MACOSX/flower_photos")
    assert f"give --source.path {tmp_path}/flower_photos" in refused(tmp_path)
    layouts.splits(tmp_path / "b" / "archive" / "chest", ("train", "test"))
    assert f"give --source.path {tmp_path}/b/archive/chest" in refused(tmp_path / "b")
    layouts.splits(tmp_path / "c" / "bottle", ("train", "test"))
    layouts.splits(tmp_path / "c" / "cable", ("train", "test"))
    assert f"give one of them: --source.path {tmp_path}/c/bottle" in refused(tmp_path / "c")


@pytest.mark.parametrize(
    "folders",
    [
        ("cat", "dog", "test"),
        ("cat", "dog", "val"),
        ("cat", "dog", "Test_Images"),
        ("cat", "train", "test"),
        ("cat", "seg_train", "seg_test"),
        ("cat", "train/steam", "train/diesel"),
    ],
)
def test_folder_that_may_be_a_split_or_a_class_is_refused_with_what_to_type(tmp_path, folders):
    assert "--source.kind table --source.format binaryFile" in refused(layouts.write(tmp_path, *folders))


@pytest.mark.spark
def test_what_to_type_makes_every_folder_a_class(spark, tmp_path):
    layouts.write(tmp_path, "cat", "dog", "test")
    table = source_of(SourceConfig("table", str(tmp_path), "binaryFile"))
    assert table.classes(spark) == ["cat", "dog", "test"]


@pytest.mark.spark
def test_folders_of_splits_that_a_table_of_files_does_not_keep_are_named(spark, tmp_path):
    layouts.splits(tmp_path / "plain", ("train", "val"))
    [line] = source_of(SourceConfig("table", str(tmp_path / "plain"), "binaryFile")).notes(spark)
    assert line.startswith("warning: 'train' and 'val' are not taken for splits")
    layouts.write(tmp_path / "named", *(f"split={s}/label={c}" for s in ("train", "val") for c in "ab"))
    table = source_of(SourceConfig("table", str(tmp_path / "named"), "binaryFile"))
    assert (table.notes(spark), table.splits(spark), table.classes(spark)) == ([], {"train", "validation"}, ["a", "b"])
    layouts.write(tmp_path / "classes", "train", "car", "test tube")
    assert source_of(SourceConfig("table", str(tmp_path / "classes"), "binaryFile")).notes(spark) == []


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (("test/a", "test/b", "val/a", "val/b"), "no folder for training"),
        (("images", "annotations"), "images beside their annotations"),
        (("train/images", "train/labels", "valid/images", "valid/labels"), "images beside their annotations"),
        (("a", "b", "cells/a", "cells/b"), "is it a copy"),
        (("fold1/a", "fold1/b", "fold2/a", "fold2/b"), "with the same folders in each"),
        (("cat/train", "cat/test", "dog/train", "dog/test", "bird"), "the same splits in every class"),
        (("train", "test"), "no class folders in"),
        (("a",), "there is one class, 'a'"),
        (("train/a", "test/a"), "there is one class, 'a'"),
    ],
)
def test_other_layouts_are_refused(tmp_path, folders, said):
    assert said in refused(layouts.write(tmp_path, *folders))


def test_list_of_labels_beside_images_is_named(tmp_path):
    layouts.write(tmp_path, "")
    (tmp_path / "labels.csv").write_text("path,label\n0.png,a\n")
    assert f"--source.kind manifest --source.path {tmp_path}/labels.csv" in refused(tmp_path)


def test_classes_with_the_same_folders_below_are_classes_with_a_warning(tmp_path):
    layouts.write(tmp_path, "day/cat", "day/dog", "night/cat", "night/dog")
    folders, notes = read(tmp_path)
    assert set(folders) == {(None, "day"), (None, "night")}
    assert any("'cat' and 'dog'; if those are the classes, give --source.kind table" in note for note in notes)


def test_empty_class_folder_is_refused(tmp_path):
    layouts.splits(tmp_path, ("train", "test"))
    (tmp_path / "test" / "bird").mkdir()
    (tmp_path / "test" / "bird" / "Thumbs.db").write_bytes(b"x")
    assert "class 'bird' has no images in" in refused(tmp_path)


def test_class_folder_of_a_split_that_is_not_utf8_is_refused(tmp_path):
    layouts.splits(tmp_path, ("train", "test"))
    os.mkdir(os.fsencode(tmp_path) + b"/train/caf\xe9")
    assert "not UTF-8" in refused(tmp_path)


def test_links_that_lead_back_end(tmp_path):
    layouts.write(tmp_path, "a", "b")
    (tmp_path / "c" / "d").mkdir(parents=True)
    for i in range(10):
        (tmp_path / "c" / "d" / f"{i}").symlink_to("..", target_is_directory=True)
    assert "class 'c' has no images" in refused(tmp_path)


def test_listing_of_a_large_class_is_not_kept(tmp_path):
    layouts.write(tmp_path, "a", "b")
    before = read_layout(str(tmp_path)).class_folders
    layouts.write(tmp_path, "c")
    assert len(read_layout(str(tmp_path)).class_folders) == len(before) + 1


@pytest.mark.parametrize("build", [layouts.beside_their_masks, layouts.masks_by_name])
def test_masks_are_not_taken_for_images_of_their_class(tmp_path, build):
    assert "--source.kind manifest" in refused(build(tmp_path / "classes"))
    build(tmp_path / "splits" / "train")
    build(tmp_path / "splits" / "test")
    assert "mask" in refused(tmp_path / "splits")


def test_names_with_the_word_mask_are_names(tmp_path):
    layouts.write(tmp_path, "mask", "no_mask", "masks/left", n=4)
    (tmp_path / "mask" / "0_mask.png").write_bytes(b"x")  # one of many
    assert set(read(tmp_path)[0]) == {(None, "mask"), (None, "no_mask"), (None, "masks")}


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (("images/train", "images/val", "labels/train", "labels/val"), "images beside their annotations"),
        (("images_001/images", "images_002/images"), "parts of a collection"),
        (("x/part_1", "x/part_2", "other"), None),
        (("rps/rock", "rps/paper", "rps-test-set/rock", "rps-test-set/paper"), "may be a split or a class"),
        (("simpsons/bart", "simpsons/lisa", "kaggle_simpson_testset"), "may be a split or a class"),
        (("a/abbey", "a/airport", "b/bar"), "folders for initials"),
        (tuple(f"{v}/{c}" for v in ("color", "grayscale") for c in ("ok", "rust", "mold")), "the same 3 folders"),
        (tuple(f"{v}/images/{c}" for v in ("amazon", "dslr") for c in ("bike", "desk", "mug")), "the same 3 folders"),
        (tuple(f"{v}/{c}" for v in ("run", "jump") for c in ("v1", "v2", "v3")), None),
        (tuple(f"{v}/{c}" for v in ("run", "jump") for c in ("1", "2", "3")), None),
        (("Train/a", "Train/b", "train/a", "train/b", "test/a", "test/b"), "differ only in case"),
    ],
)
def test_folders_that_are_collections_are_refused(tmp_path, folders, said):
    layouts.write(tmp_path, *folders)
    if said is None:
        assert {name for _, name in read(tmp_path)[0]} == {folder.partition("/")[0] for folder in folders}
    else:
        assert said in refused(tmp_path)


def test_parts_of_a_collection_are_refused_with_the_file_that_has_the_labels(tmp_path):
    said = refused(layouts.parts(tmp_path))
    assert "'HAM10000_images_part_1' and 'HAM10000_images_part_2', parts of a collection" in said
    assert said.endswith(f"--source.kind manifest --source.path {tmp_path}/metadata.csv")
    assert "/metadata.csv" in refused(layouts.parts(tmp_path / "one", ["images"]))
    assert "/metadata.csv" in refused(layouts.parts(tmp_path / "two", ["celeba"], below="celeba"))


@pytest.mark.parametrize(
    ("build", "right"), [(layouts.birds, "CUB_200_2011/images"), (layouts.ilsvrc, "ILSVRC/Data/CLS-LOC")]
)
def test_folders_of_documents_are_no_classes_and_no_way_to_them(tmp_path, build, right):
    build(tmp_path)
    for given in ("", right.partition("/")[0]):
        assert refused(tmp_path / given).endswith(f"give --source.path {tmp_path}/{right}")
    assert len(read(tmp_path / right)[0]) == 2


def test_folder_to_give_is_quoted_for_the_shell(tmp_path):
    layouts.write(tmp_path, "plant images/a", "plant images/b")
    assert f"give --source.path '{tmp_path}/plant images'" in refused(tmp_path)


def test_class_of_documents_is_refused_before_any_image_is_read(tmp_path):
    layouts.with_documents(layouts.write(tmp_path, "a", "b"), "docs", "paper.pdf", "README")
    assert "class 'docs' has no images in" in refused(tmp_path)
    assert "only files such as 'README'" in refused(tmp_path)


def test_flat_folders_beside_splits_are_left_out_and_named(tmp_path):
    folders, notes = read(layouts.traffic_signs(tmp_path))
    assert set(folders) == {("train", name) for name in ("0", "1", "42")}
    assert {note.split("'")[1] for note in notes if note.startswith("warning: left out 5 files")} == {"Meta", "Test"}
    layouts.write(tmp_path / "b", "train/a", "train/b", "test/a", "test/b", "runs/exp", "images to predict")
    assert len(read(tmp_path / "b")[0]) == 4
    layouts.write(tmp_path / "b", "augmented/a")
    assert "beside them, 'augmented'" in refused(tmp_path / "b")


def test_copy_of_the_splits_beside_them_is_refused_with_the_folder_to_give(tmp_path):
    layouts.splits(tmp_path / "x", ("train", "test"))
    layouts.splits(tmp_path / "x" / "x", ("train", "test"))
    assert f"if 'x' is a copy, give --source.path {tmp_path}/x/x;" in refused(tmp_path / "x")


def test_classes_without_images_of_their_own_are_named(tmp_path):
    layouts.write(tmp_path, "train/fish/ray", "train/fish/shark", "train/flowers/rose", "train/flowers/lily")
    folders, notes = read(tmp_path)
    assert set(folders) == {("train", "fish"), ("train", "flowers")}
    assert any("have folders such as 'ray'; if those are the classes, give --source.kind table" in n for n in notes)


SIDE_FILES = [
    *("Thumbs.db", "thumbs.DB", "ehthumbs.db", "Thumbs.db:encryptable", "desktop.ini", "Desktop.ini", ".DS_Store"),
    *("._x.jpg", "Picasa.ini", "x.jpg.part", "x.jpg.crdownload", "x.JPG.tmp", "x.png~", "~$x.docx", "Icon\r"),
    *("x.jpg:Zone.Identifier", "x.jpg@SynoResource", "_SUCCESS", ".nomedia", "x.jpg_original", "x.JPG.bak"),
]
SIDE_FOLDERS = [
    *("__MACOSX", "@eaDir", "#recycle", ".ipynb_checkpoints", "lost+found", "$RECYCLE.BIN", ".Trash-0", ".Trashes"),
    *("__pycache__", "System Volume Information", "FOUND.000", ".git", "@Recycle"),
]
NAMES = [
    "x.jpg",
    "Thumbs.jpg",
    "part",
    "part.png",
    "tmp.png",
    "recycle",
    "cats@home.png",
    "a.b",
    "lost",
    "db",
    "desktop",
]


def test_side_files_and_folders_are_known_by_their_names():
    assert all(map(is_side_file, SIDE_FILES))
    assert all(map(is_side_folder, SIDE_FOLDERS))
    assert not any(is_side_file(name) or is_side_folder(name) for name in NAMES)
    for name in SIDE_FILES:
        assert re.search(SIDE_PATH, name)
        assert re.search(SIDE_PATH, f"a/b/{name}")
    for name in SIDE_FOLDERS:
        assert re.search(SIDE_PATH, f"{name}/1.png")
        assert re.search(SIDE_PATH, f"a/{name}/b/1.png")
    for name in NAMES:
        assert not re.search(SIDE_PATH, f"{name}/{name}")


@pytest.mark.parametrize("name", SIDE_FILES)
def test_side_file_is_found_among_many_names(name):
    names = [f"{i}.jpg" for i in range(5)]
    assert without_side_files([*names, name, *NAMES]) == names + NAMES
    assert without_side_files([name]) == []


def test_side_files_are_ignored_and_counted_below_a_folder_and_in_globs(tmp_path):
    layouts.thumbnails(tmp_path)
    assert read(tmp_path)[0] == {(None, "a"): "a", (None, "b"): "b"}
    images = sorted(str(tmp_path / name / f"{i}.png") for name in "ab" for i in range(3))
    ignored = Ignored()
    assert sorted(files_below(str(tmp_path), ignored)) == images
    assert ignored.side == {
        **{"@eaDir/": 2, ".*/": 3, "Thumbs.db": 2, "desktop.ini": 2, ".DS_Store": 2, "._*": 2},
        **{"unfinished downloads": 2, "__MACOSX/": 1, "lost+found/": 1, "#recycle/": 1, "$RECYCLE.BIN/": 1},
    }
    [line] = ignored.lines("ingest")
    assert line.startswith("ingest: ignored 19 side files and folders: 3 .*/, ")
    assert sorted(files_matching(f"{tmp_path}/**")) == sorted(files_matching(f"{tmp_path}/*/*")) == images
    assert list(files_matching(f"{tmp_path}/a/@eaDir/*/*.png")) != []
    config = Config(scoring=ScoringConfig(input=str(tmp_path)))
    assert sorted(list_input(config, 100)) == images


def test_links_to_folders_are_counted_and_named(tmp_path):
    layouts.write(tmp_path / "images", "a", "b")
    layouts.write(tmp_path / "disk", "more")
    (tmp_path / "images" / "a" / "link").symlink_to(tmp_path / "disk" / "more")
    [found] = list_ignored(
        [pa.RecordBatch.from_pydict({"id": [0, 1]})], [f"{tmp_path}/images/{name}" for name in "ab"], None
    )
    assert found.to_pylist() == [{"kind": "link", "count": 1, "example": f"{tmp_path}/images/a/link"}]


def run(spark, folder, out, kind="folder", format=None):
    config = DatasetConfig(root=str(out), image=ImageConfig(6, 5, 3), max_bad_fraction=0, validation_fraction=0.3)
    return ingest(spark, source_of(SourceConfig(kind, str(folder), format)), config, lambda *_: None)


def paths(result):
    return {
        path
        for split in result.manifest.splits
        for path in pq.read_table(result.path / split, columns=["path"]).column("path").to_pylist()
    }


@pytest.mark.long
@pytest.mark.spark
def test_side_files_are_not_part_of_a_version(spark, tmp_path, capsys):
    layouts.thumbnails(tmp_path / "images")
    (tmp_path / "images" / "a" / "link").symlink_to(tmp_path)
    expected = {f"{name}/{i}.png" for name in "ab" for i in range(3)}
    result = run(spark, tmp_path / "images", tmp_path / "data")
    assert paths(result) == expected
    assert result.manifest.quarantined == 0
    said = capsys.readouterr().err
    assert "ingest: ignored 19 side files and folders" in said
    assert f"warning: links to folders are not followed: 1, e.g. '{tmp_path}/images/a/link'" in said
    layouts.write(tmp_path / "clean", "a", "b", n=3)
    assert run(spark, tmp_path / "clean", tmp_path / "data").existed
    (tmp_path / "images" / "a" / "link").unlink()  # Spark would follow it
    again = run(spark, tmp_path / "images", tmp_path / "data", "table", "binaryFile")
    assert again.existed
    assert "ingest: ignored 11 side files and folders: 2 @eaDir/, 2 Thumbs.db, " in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.spark
def test_side_files_are_not_scored(spark, tmp_path, capsys):
    layouts.thumbnails(tmp_path / "in")
    expected = {str(tmp_path / "in" / name / f"{i}.png") for name in "ab" for i in range(3)}
    for given, fields in ((tmp_path / "in", {}), (f"{tmp_path}/in/*/*", {}), (tmp_path / "in", {"stream": True})):
        out = tmp_path / f"out {len(str(given))} {len(fields)}"
        config = Config(scoring=ScoringConfig(input=str(given), output=str(out), **fields))
        check_input(config)
        written = score_to_output(spark, config, package())
        assert {row.path for row in written.added.select("path").collect()} == expected
        assert written.errors == 0
    assert "ignored" in capsys.readouterr().err  # of the stream
    config = Config(scoring=ScoringConfig(input=str(tmp_path / "in")))
    assert input_notes(spark, config)[0].startswith("score: ignored 19 side files and folders")


def test_folder_of_side_files_alone_has_nothing_to_score(tmp_path):
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    for given in (tmp_path, pathlib.Path(tmp_path, "*")):
        with pytest.raises(SourceError):
            check_input(Config(scoring=ScoringConfig(input=str(given))))
