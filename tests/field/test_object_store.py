"""Images, manifests, datasets and scores in S3: the same results as with local folders, and faults that are named."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from convoy.config import DatasetConfig, ImageConfig, SourceConfig
from convoy.dataset.ingest.build import ingest
from convoy.dataset.sources import source_of
from convoy.dataset.sources.folder import FolderSource
from convoy.dataset.sources.paths import read_file
from convoy.dataset.storage import catalog, object_path
from convoy.dataset.storage.object_path import ObjectPath
from convoy.dataset.storage.verify import verify
from convoy.errors import DatasetError, SourceError
from tests.spark_support import write_images

IMAGE = ImageConfig(height=6, width=5, channels=1)


@pytest.fixture
def images(tmp_path) -> Path:
    """A folder of images of two classes, with side files."""
    write_images(tmp_path / "in", {"a b": 30, "c+%20ä": 30})
    (tmp_path / "in" / "a b" / ".DS_Store").write_bytes(b"1")
    (tmp_path / "in" / "a b" / "deep").mkdir()
    os.rename(tmp_path / "in" / "a b" / "0-3.png", tmp_path / "in" / "a b" / "deep" / "0-3.png")
    return tmp_path / "in"


def upload(folder: Path, url: str) -> str:
    for path in (each for each in folder.rglob("*") if each.is_file()):
        (ObjectPath(url) / path.relative_to(folder).as_posix()).upload(path)
    return url


def config(root, **settings) -> DatasetConfig:
    return DatasetConfig(root=str(root), name="x", image=IMAGE, **settings)


def run(spark, source, settings):
    return ingest(spark, source_of(source), settings, lambda *_: None)


@pytest.mark.spark
def test_a_dataset_in_s3_from_images_in_s3_is_the_one_of_local_folders(spark, images, s3, tmp_path):
    local = run(spark, SourceConfig(path=str(images)), config(tmp_path / "datasets"))
    url = upload(images, f"{s3}/images")
    stored = run(spark, SourceConfig(path=f"{url}/"), config(f"{s3}/datasets"))
    assert stored.manifest.version == local.manifest.version
    assert stored.path == ObjectPath(f"{s3}/datasets/x/{local.manifest.version}")
    for split, entry in local.manifest.splits.items():
        other = stored.manifest.splits[split]
        assert [file.sha256 for file in other.files] == [file.sha256 for file in entry.files]
        assert other.per_class == entry.per_class
    assert verify(stored.path) == []
    assert stored.manifest.source == {"kind": "folder", "path": url}
    names = {path.relative_to(stored.path).split("/")[0] for path, _ in stored.path.files()}
    assert names == {"manifest.json", "pictures", *local.manifest.splits}
    again = run(spark, SourceConfig(path=url), config(f"{s3}/datasets"))
    assert again.existed
    assert list(stored.path.parent.glob(".*")) == []


def rows(names, labels=("7", "8")):
    return [
        {"path": f"img/{name}", "label": labels[number % 2], "split": "", "weight": 1 + number % 2}
        for number, name in enumerate(names)
    ]


@pytest.mark.spark
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("csv", marks=pytest.mark.long),
        pytest.param("jsonl", marks=pytest.mark.long),
        pytest.param("parquet", marks=pytest.mark.long),
    ],
)
def test_a_manifest_in_s3_is_read_as_a_local_one(spark, s3, tmp_path, kind):
    write_images(tmp_path / "m" / "img", {"a": 10, "b": 10})
    names = sorted(path.relative_to(tmp_path / "m" / "img").as_posix() for path in (tmp_path / "m").rglob("*.png"))
    table = pd.DataFrame(rows(names))
    file = tmp_path / "m" / f"list.{kind}"
    if kind == "csv":
        text = table.to_csv(index=False)
        file.write_text("\ufeff" + text.replace("img/a/0-0.png", '"img/a/0-0.png"') + "\n")
    elif kind == "jsonl":
        file.write_text("".join(json.dumps({**row, "label": int(row["label"])}) + "\n" for row in rows(names)))
    else:
        table.astype({"label": "category"}).to_parquet(file, row_group_size=6)
    url = upload(tmp_path / "m", f"{s3}/m")
    local = source_of(SourceConfig(kind="manifest", path=str(file)))
    stored = source_of(SourceConfig(kind="manifest", path=f"{url}/list.{kind}"))
    assert stored.classes(spark) == local.classes(spark) == ["7", "8"]
    assert stored.splits(spark) == local.splits(spark)
    one, other = (
        sorted(tuple(row) for row in source.listing(spark).select("name", "class_name", "split", "weight").collect())
        for source in (local, stored)
    )
    assert one == other
    first = stored.listing(spark).orderBy("name").first()
    assert first.path == f"{url}/img/a/0-0.png"
    assert stored.read(first.path) == local.read(str(tmp_path / "m" / "img" / "a" / "0-0.png"))
    assert stored.describe() == {"kind": "manifest", "path": f"{url}/list.{kind}"}


def test_wrong_manifests_in_s3_are_named(s3):
    def source(text, name="list.csv"):
        (ObjectPath(s3) / name).write_text(text)
        return SourceConfig(kind="manifest", path=f"{s3}/{name}")

    with pytest.raises(SourceError, match="does not exist"):
        source_of(SourceConfig(kind="manifest", path=f"{s3}/none.csv"))
    with pytest.raises(SourceError, match="has no column 'label'"):
        source_of(source("path,class\na.png,1\n"))
    with pytest.raises(SourceError, match="is a folder"):
        source_of(SourceConfig(kind="manifest", path=s3))
    with pytest.raises(SourceError, match="there is no such bucket"):
        source_of(SourceConfig(kind="manifest", path="s3://no-such-bucket/list.csv"))


@pytest.mark.long
@pytest.mark.spark
def test_a_row_with_too_many_fields_is_named(spark, s3):
    (ObjectPath(s3) / "list.csv").write_text("path,label\na.png,x\nb, c.png,y\n")
    source = source_of(SourceConfig(kind="manifest", path=f"{s3}/list.csv"))
    with pytest.raises(SourceError, match=r"row 'b' has more fields than the header has columns \(2\), 'y' is left"):
        source.classes(spark)


@pytest.mark.long
@pytest.mark.spark
@pytest.mark.parametrize("scheme", ["s3a", "s3"])
def test_a_table_in_s3_needs_the_jar_of_spark(spark, scheme):
    source = source_of(SourceConfig(kind="table", path=f"{scheme}://bucket/table"))
    with pytest.raises(SourceError, match=r"cannot be read: .*; Spark itself needs a jar for such URLs"):
        source.classes(spark)


@pytest.mark.long
def test_folders_in_s3_are_checked_as_local_ones(s3, images):
    url = upload(images, f"{s3}/images")
    source = FolderSource(url)
    source.check()
    assert source.classes() == ["a b", "c+%20ä"]
    assert source.splits() == set()
    for name in ("train", "test"):
        upload(images, f"{s3}/splits/{name}")
    assert FolderSource(f"{s3}/splits").splits() == {"train", "test"}
    for wrong, text in (
        (f"{s3}/none", "does not exist"),
        (f"{url}/a b/0-0.png", "is an object"),
        (f"{url}/c+%20ä", "class folders"),
        ("s3://no-such-bucket/x", "there is no such bucket"),
    ):
        with pytest.raises(SourceError, match=text):
            source_of(SourceConfig(path=wrong))
    (ObjectPath(f"{s3}/table/_delta_log") / "0.json").write_text("{}")
    (ObjectPath(f"{s3}/table") / "a" / "0.png").write_text("1")
    with pytest.raises(SourceError, match=r"expected source\.kind table"):
        source_of(SourceConfig(path=f"{s3}/table"))


def test_an_image_without_access_is_not_left_out(s3, faulty):
    (ObjectPath(s3) / "1.png").write_bytes(b"pixels")
    assert read_file(s3.replace("s3://", "s3a://") + "/1.png") == b"pixels"
    with pytest.raises(FileNotFoundError):  # it is quarantined as a local file that is missing
        read_file(f"{s3}/2.png")
    faulty.fault = lambda *_: (403, "AccessDenied")
    with pytest.raises(SourceError, match="an image cannot be read: access to the store is denied"):
        read_file(f"{s3}/1.png")


@pytest.mark.spark
@pytest.mark.long
def test_an_image_that_changes_between_listing_and_writing_ends_the_ingest(spark, images, s3, tmp_path, monkeypatch):
    url = upload(images, f"{s3}/images")
    source = source_of(SourceConfig(path=url))
    from convoy.dataset.ingest import build

    real = build._layouts

    def changed(*arguments):
        (ObjectPath(url) / "a b" / "0-1.png").write_bytes((images / "a b" / "0-2.png").read_bytes())
        return real(*arguments)

    monkeypatch.setattr(build, "_layouts", changed)
    with pytest.raises(SourceError, match=r"has changed since it was listed: s3://.*/0-1\.png; ingest again"):
        ingest(spark, source, config(tmp_path / "datasets"), lambda *_: None)
    assert catalog.versions(str(tmp_path / "datasets"), "x") == []


@pytest.mark.spark
@pytest.mark.long
def test_a_token_that_expires_ends_the_ingest_in_one_line(spark, images, s3, faulty, monkeypatch):
    """The workers of the shared session have the server's own address, so only the driver sees this."""
    faulty.fault = lambda method, path, _: (400, "ExpiredToken") if method == "PUT" and "_common" in path else None
    monkeypatch.setattr(object_path, "RETRY_SECONDS", 1)
    with pytest.raises(DatasetError, match=r"written to: the credentials have expired .*nothing was published"):
        run(spark, SourceConfig(path=str(images)), config(f"{s3}/datasets"))
    faulty.fault = lambda *_: None
    assert ObjectPath(f"{s3}/datasets").files() == []
