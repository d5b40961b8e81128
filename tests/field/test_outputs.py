"""Where results go: URLs are not local folders, and the paths of results join with Spark's."""

import dataclasses
import os
import re
from types import UnionType
from typing import get_args, get_type_hints

import pyarrow.parquet as pq
import pytest

from convoy.cli.subcommands import run_commands
from convoy.config import Config, DatasetConfig, ScoringConfig, SourceConfig, locations
from convoy.config.describe import DescribeArguments
from convoy.config.loading import parse, with_overrides
from convoy.dataset.commands import list_versions
from convoy.dataset.sources import source_of
from convoy.dataset.sources.paths import read_file
from convoy.dataset.sources.rows import glob_escaped
from convoy.errors import ConfigError
from convoy.inference.sinks.folder import write_parquet
from convoy.inference.sinks.write import score_to_output
from convoy.inference.sources import score_files
from convoy.runs.commands import compare_runs, place
from convoy.tracking.connection import connect
from convoy.workflows.import_model import import_model
from tests.field.inputs.tables import image
from tests.inference.packages import package

PATHS = {
    "source.path",
    "dataset.root",
    "model.initial_weights",
    "training.checkpoint.folder",
    "training.horovod.timeline",
    "scoring.classes",
    "scoring.input",
    "scoring.output",
}
STORED = {
    "dataset.root",
    "training.checkpoint.folder",
    "source.path",
    "scoring.output",
}  # which may be in an object store
DATABASES = {"tracking.uri", "tracking.registry_uri", "tune.storage"}
OTHERS = {
    *(f"source.columns.{name}" for name in ("path", "image", "label", "split", "weight")),
    *("source.format", "dataset.name", "dataset.version", "model.name", "model.initialiser", "model.freeze_to"),
    *("tracking.experiment", "tracking.registered_model", "evaluation.model", "training.resume", "tune.study"),
    *("scoring.model", "scoring.image_column", "scoring.key", "spark.master"),
}
URLS = (
    "s3a://bucket/x",
    "S3://bucket/x",
    "gs:/bucket/x",
    "abfss://container@account.dfs.core.windows.net/x",
    "hdfs:///x",
    "https://server/x",
    "  s3a://bucket/x",
    "s3:bucket/x",
    "simplecache::s3://bucket/x",
    "file://server/x",
    "unknown+store:/x",
    "C:/data/x",
    "d:\\data\\x",
)


def texts(section, prefix=""):
    """Names of all fields that take a text."""
    for name, kind in get_type_hints(section).items():
        if dataclasses.is_dataclass(kind):
            yield from texts(kind, f"{prefix}{name}.")
        elif kind is str or (isinstance(kind, UnionType) and str in get_args(kind)):
            yield prefix + name


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """The current folder, which has to stay empty."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "here"
    assert os.listdir(tmp_path / "here") == []


def test_each_field_with_a_text_is_a_path_or_is_none():
    assert set(texts(Config)) == PATHS | DATABASES | OTHERS


@pytest.mark.parametrize("field", sorted(PATHS | DATABASES))
@pytest.mark.parametrize("url", URLS)
def test_a_url_in_any_field_is_refused_with_what_to_use(empty, monkeypatch, field, url):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # also those of S3, without their package
    given = f"sqlite:///{url}" if field in DATABASES else url
    with pytest.raises(ConfigError, match=field) as refused:
        with_overrides(Config(), {field: given})
    assert repr(url) in str(refused.value)
    assert re.search("expected a local path|expected a URL of S3|give a local path", str(refused.value))
    with pytest.raises(ConfigError, match=field):
        parse("ingest", "", [f"--{field}", given])


@pytest.mark.parametrize("field", sorted(STORED))
def test_a_url_of_s3_is_taken_where_files_may_be_in_a_store(empty, monkeypatch, field):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    config = with_overrides(Config(), {field: "s3a://bucket/a folder/"})
    for name in field.split("."):
        config = getattr(config, name)
    assert config == "s3://bucket/a folder"
    with pytest.raises(ConfigError, match=field):
        with_overrides(Config(), {field: "gs://bucket/x"})


@pytest.mark.parametrize("field", sorted(PATHS | DATABASES))
def test_a_file_uri_is_the_path_that_it_names(empty, field):
    wrap = "sqlite:///{}".format if field in DATABASES else "{}".format
    for given, expected in (("file:/a/b%20c", "/a/b%20c"), ("file:///a/b%20c", "/a/b c"), ("FILE:/a", "/a")):
        config = with_overrides(Config(), {field: wrap(given)})
        for name in field.split("."):
            config = getattr(config, name)
        assert config == wrap(expected)


def test_paths_and_names_stay_as_they_were_given(empty):
    given = {
        "dataset.root": "~/data sets/a:b",
        "source.path": "../c:/x",
        "scoring.input": "dataset:test",
        "scoring.output": "table:default.scores",
        "model.initial_weights": "models:/digits@champion",
        "tracking.uri": "https://server/mlflow",
        "tracking.registry_uri": "databricks-uc",
        "tune.storage": "postgresql://server/studies",
    }
    config = with_overrides(Config(), given)
    for field, value in given.items():
        section, name = field.split(".")
        assert getattr(getattr(config, section), name) == value
    for field in DATABASES - {"tracking.registry_uri"}:
        section, name = field.split(".")
        assert getattr(getattr(Config(), section), name).startswith("sqlite:///")
    # Spark reads tables, also where this machine cannot.
    assert SourceConfig(kind="table", path="s3a://bucket/table").path == "s3a://bucket/table"


def test_volumes_and_dbfs_are_folders_where_these_are_mounted(tmp_path, monkeypatch):
    for name in ("Volumes", "dbfs"):
        monkeypatch.setattr(locations, f"_{name.upper()}", str(tmp_path / name))
    for given, folder in (("dbfs:/Volumes/c/s/v", "Volumes"), ("dbfs:/ds", "dbfs"), ("dbfs:/VolumesOld", "dbfs")):
        with pytest.raises(ConfigError, match=rf"no folder .*/{folder}, where Databricks mounts"):
            DatasetConfig(root=given)
        with pytest.raises(OSError, match=f"no folder .*/{folder}"):
            read_file(given)
    for name in ("Volumes", "dbfs"):
        (tmp_path / name).mkdir()
    for given, expected in (
        ("dbfs:/Volumes/c/s/v", "Volumes/c/s/v"),
        ("DBFS:///Volumes/c", "Volumes/c"),
        ("dbfs:/Volumes", "Volumes"),
        ("dbfs:/ds", "dbfs/ds"),
        ("dbfs:/VolumesOld/a", "dbfs/VolumesOld/a"),
    ):
        assert DatasetConfig(root=given).root == str(tmp_path / expected)
    (tmp_path / "Volumes" / "1.png").write_bytes(b"pixels")
    assert read_file("dbfs:/Volumes/1.png") == b"pixels"
    with pytest.raises(ConfigError, match="'dbfs://host/x'"):
        DatasetConfig(root="dbfs://host/x")


def test_arguments_that_are_no_fields_are_checked_too(empty, capsys):
    with pytest.raises(ConfigError, match=r"picture is 's3a://b/x\.png'"):
        DescribeArguments(picture="s3a://b/x.png")
    with pytest.raises(ConfigError, match=r"--config is 's3a://b/x\.yaml'"):
        parse("train", "", ["--config", "s3a://b/x.yaml"])
    with pytest.raises(ConfigError, match=r"--config is 's3a://b/x\.yaml'"):
        parse("train", "", ["--config=s3a://b/x.yaml"])
    assert run_commands("datasets", {"list": list_versions}, "", argv=["list", "--root", "gs://bucket/ds"]) == 2
    assert "'gs://bucket/ds'" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"--output is 'gs://b/x\.png'"):
        compare_runs(["a", "b"], output="gs://b/x.png")
    with pytest.raises(ConfigError, match=r"--model is 's3a://b/model\.keras'; .* or a model URI"):
        import_model(Config(), "s3a://b/model.keras")
    for call in (lambda uri: place(None, uri), connect, lambda uri: connect(uri, create=True)):
        with pytest.raises(ConfigError, match=r"'s3a://bucket/mlflow\.db'"):
            call("sqlite:///s3a://bucket/mlflow.db")


def test_the_file_of_an_experiment_may_be_a_uri(tmp_path):
    (tmp_path / "a b.yaml").write_text("training: {epochs: 7}\n")
    for given in ((tmp_path / "a b.yaml").as_uri(), f"file:{tmp_path}/a b.yaml"):
        assert parse("train", "", ["--config", given]).training.epochs == 7
        assert parse("train", "", [f"--config={given}"]).training.epochs == 7


def test_a_row_with_a_url_is_not_read_as_a_local_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for url in ("s3:/b/1.png", "file://server/1.png", "nosuchstore:/1.png", "dbfs:/1.png", "memory:/1.png"):
        (tmp_path / os.path.dirname(url)).mkdir(parents=True, exist_ok=True)
        (tmp_path / url).write_bytes(b"pixels of a local file")
        with pytest.raises(OSError, match=r"two slashes|begins with file:/|no folder /dbfs"):
            read_file(url)


@pytest.mark.long
@pytest.mark.spark
def test_the_paths_of_scored_files_join_with_those_of_sparks_files(spark, tmp_path):
    folder = tmp_path / "in [1] %20+ä"
    names = ("1.png", "a b/2 %41#?.png")
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image(number))
    given = ScoringConfig(input=str(folder), output=str(tmp_path / "out"))
    written = score_to_output(spark, Config(scoring=given), package()).added
    pattern = glob_escaped(f"file://{folder}")
    files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(pattern)
    joined = files.join(written, files["path"] == written["uri"]).select(written["path"], "length").collect()
    assert {row["path"]: row["length"] for row in joined} == {
        str(folder / name): (folder / name).stat().st_size for name in names
    }


@pytest.mark.long
@pytest.mark.spark
@pytest.mark.parametrize("mode", ["append", "incremental"])
def test_a_result_of_an_older_version_goes_on_without_the_column(spark, tmp_path, mode):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.png").write_bytes(image(1))
    rows = score_files(spark.createDataFrame([(f"{tmp_path}/in/0.png",)], "path string"), package(), ScoringConfig())
    write_parquet(rows.drop("uri"), tmp_path / "out")
    given = ScoringConfig(input=str(tmp_path / "in"), output=str(tmp_path / "out"), mode=mode)
    assert score_to_output(spark, Config(scoring=given), package()).rows == 1
    assert "uri" not in pq.read_schema(next((tmp_path / "out").glob("*.parquet"))).names
    overwrite = dataclasses.replace(given, mode="overwrite")
    assert "uri" in score_to_output(spark, Config(scoring=overwrite), package()).added.columns


@pytest.mark.spark
@pytest.mark.parametrize("kind", ["manifest", "table"])
def test_spark_does_not_blame_a_proper_file(spark, tmp_path, capfd, kind):
    for number in (0, 1):
        (tmp_path / f"{number}.png").write_bytes(image(number))
    (tmp_path / "list.csv").write_text("id,path,label,note\n1,0.png,cat,\n2,1.png,dog,x\n")
    form = "csv" if kind == "table" else None
    source = source_of(SourceConfig(kind=kind, path=str(tmp_path / "list.csv"), format=form))
    capfd.readouterr()
    assert source.classes(spark) == ["cat", "dog"]
    assert source.listing(spark).count() == 2
    assert "WARN" not in capfd.readouterr().err
