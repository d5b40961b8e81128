"""``<path>/<class>/<image>`` or ``<path>/<split>/<class>/<image>``: recognised, or refused with a reason."""

import os
import pickle

import pyarrow as pa
import pytest

from convoy.config import SourceConfig
from convoy.dataset.ingest.splits import SPLIT_ALIASES
from convoy.dataset.sources import source_of
from convoy.dataset.sources.folder import FolderSource, list_folders
from convoy.errors import ConfigError, SourceError


def write(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(str(file).encode())
    return FolderSource(str(root))


def listed(source, *folders):
    """(name, class, split) of every file of folders given as (split, class, folder)."""
    folders = [(split, name, os.path.join(source.path, folder)) for split, name, folder in folders]
    ids = [pa.RecordBatch.from_pydict({"id": [i]}) for i in range(len(folders))]
    found = []
    for batch in list_folders(iter(ids), folders, source.path):
        for row in batch.to_pylist():
            assert os.path.samefile(row["path"], os.path.join(source.path, row["name"]))
            found.append((row["name"], row["class_name"], row["split"]))
    return found


def test_folders_are_classes_in_sorted_order(tmp_path):
    source = write(tmp_path, "dog/1.png", "Cat/1.png", "10/x.png", "9/x.png", "README.txt")
    source.check()
    assert source.classes() == ["10", "9", "Cat", "dog"]


@pytest.mark.parametrize(
    "splits",
    [("train",), ("train", "test"), ("Training", "VAL", "testing"), ("train", "valid"), ("train", "dev")],
)
def test_split_folders_are_recognised(tmp_path, splits):
    source = write(tmp_path, *(f"{split}/{name}/1.png" for split in splits for name in ("b", "a")))
    source.check()
    assert source.classes() == ["a", "b"]
    assert source.splits() == {SPLIT_ALIASES[split.lower()] for split in splits}


def test_classes_are_those_of_all_splits(tmp_path):
    source = write(tmp_path, "train/a/1.png", "train/b/1.png", "test/b/1.png", "test/c/1.png")
    assert source.classes() == ["a", "b", "c"]


@pytest.mark.parametrize("names", [("train", "car"), ("invalid", "valid"), ("trains", "tests"), ("steam train", "dog")])
def test_classes_that_are_called_like_splits_are_classes(tmp_path, names):
    assert write(tmp_path, *(f"{name}/1.png" for name in names)).classes() == sorted(names)
    assert FolderSource(str(tmp_path)).splits() == set()


def test_hidden_folders_and_files_do_not_count(tmp_path):
    source = write(tmp_path, "a/1.png", "a/.hidden.png", "a/.cache/2.png", ".git/x", "b/1.png")
    assert source.classes() == ["a", "b"]
    assert listed(source, (None, "a", "a")) == [("a/1.png", "a", None)]


def test_files_at_any_depth_are_listed_once_with_their_class_and_split(tmp_path):
    source = write(tmp_path, "train/a/2.png", "train/a/1.png", "train/a/deep/er/3.png", "test/b/1.png")
    os.symlink(tmp_path / "train", tmp_path / "train/a/loop")
    assert listed(source, ("train", "a", "train/a"), ("test", "b", "test/b")) == [
        ("train/a/1.png", "a", "train"),
        ("train/a/2.png", "a", "train"),
        ("train/a/deep/er/3.png", "a", "train"),
        ("test/b/1.png", "b", "test"),
    ]


def test_folder_that_cannot_be_listed_is_listed_as_what_cannot_be_read(tmp_path):
    source = write(tmp_path, "a/1.png", "b/1.png")
    deep = os.open(tmp_path / "a", os.O_RDONLY)
    for _ in range(20):  # deeper than a path may be long
        os.mkdir("x" * 250, dir_fd=deep)
        below = os.open("x" * 250, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    [batch] = list_folders([pa.RecordBatch.from_pydict({"id": [0]})], source._class_folders(), str(tmp_path))
    image, inside = batch.column("name").to_pylist()
    assert image == "a/1.png"
    with pytest.raises(OSError, match="File name too long"):
        source.read(str(tmp_path / inside))


def test_names_do_not_depend_on_where_the_folder_is(tmp_path):
    for place in ("here", "there"):
        write(tmp_path / place, "a/x/1.png", "a/ü 2.png")
    here, there = (FolderSource(str(tmp_path / place)) for place in ("here", "there"))
    assert listed(here, (None, "a", "a")) == listed(there, (None, "a", "a")) != []


def test_name_that_is_no_text_does_not_stop_the_listing(tmp_path):
    source = write(tmp_path, "a/1.png", "a/2.png")
    with open(os.fsencode(tmp_path / "a") + b"/caf\xe9.png", "wb"):
        pass
    [batch] = list_folders([pa.RecordBatch.from_pydict({"id": [0]})], source._class_folders(), str(tmp_path))
    assert batch.column("name").to_pylist() == ["a/1.png", "a/2.png", "a/caf\ufffd.png"]


def test_read_returns_the_bytes(tmp_path):
    source = write(tmp_path, "a/1.png")
    assert pickle.loads(pickle.dumps(source)).read(str(tmp_path / "a/1.png")) == b"a/1.png"
    with pytest.raises(OSError, match="No such file"):
        source.read(str(tmp_path / "a/none.png"))


@pytest.mark.parametrize(
    ("files", "path", "said"),
    [
        (["images/a/1.png", "other/x"], "imags", r"imags' does not exist.*holds: images, other"),
        ([], "deep/er", "does not exist"),
        (["images.zip"], "images.zip", r"images\.zip' is a file"),
        (["images/1.png"], "images", r"no class folders; expected <path>/<class>/<image>"),
        (["images/train/1.png"], "images", r"no class folders"),
        (["images/a/1.png", "images/b/.hidden"], "images", r"class 'b' has no images in .*images/b"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(tmp_path, files, path, said):
    write(tmp_path, *files)
    with pytest.raises(SourceError, match=said):
        source_of(SourceConfig("folder", str(tmp_path / path)))


@pytest.mark.parametrize("where", [".", "train"])
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("link", r"link' is a broken link \(to 'link'\); fix or remove it"),
        ("/none/there", r"broken link \(to '/none/there'\)"),
        (".", "link' is a link back to '.*images.*', which contains it; remove it"),
        ("../../images", "is a link back to"),
    ],
)
def test_links_that_lead_nowhere_or_back_are_refused(tmp_path, where, target, said):
    write(tmp_path / "images", "train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png")
    os.symlink(target.replace("../../images", str(tmp_path / "images")), tmp_path / "images" / where / "link")
    with pytest.raises(SourceError, match=said):
        source_of(SourceConfig("folder", str(tmp_path / "images")))


def test_links_to_class_folders_and_to_images_are_followed(tmp_path):
    write(tmp_path / "disk", "cats/1.png", "2.png")
    source = write(tmp_path / "images", "dog/1.png")
    os.symlink("../disk/cats", tmp_path / "images" / "cat")
    os.symlink("../../disk/2.png", tmp_path / "images" / "dog" / "2.png")
    source.check()
    assert source.classes() == ["cat", "dog"]
    assert [row[0] for row in listed(source, (None, "cat", "cat"), (None, "dog", "dog"))] == [
        "cat/1.png",
        "dog/1.png",
        "dog/2.png",
    ]


@pytest.mark.parametrize("name", ["a\nb", "a\\b", "\x1b[31m", " "])
def test_class_folder_whose_name_no_class_may_have_is_refused(tmp_path, name):
    write(tmp_path / "images", f"{name}/1.png", "b/1.png")
    with pytest.raises(SourceError, match=r"has a class folder .*; expected a plain name") as caught:
        source_of(SourceConfig("folder", str(tmp_path / "images")))
    assert str(caught.value).isprintable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folder_that_cannot_be_read_is_said(tmp_path):
    source = write(tmp_path / "images", "a/1.png")
    (tmp_path / "images").chmod(0)
    try:
        with pytest.raises(SourceError, match="cannot be read"):
            source.check()
    finally:
        (tmp_path / "images").chmod(0o755)


def test_folder_without_a_path_is_said():
    with pytest.raises(ConfigError, match=r"source\.path"):
        source_of(SourceConfig("folder"))
