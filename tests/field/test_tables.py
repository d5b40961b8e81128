"""Tables in folders are read as the tables that they are, or refused; those that are written keep their definition."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convoy.config import Config, ScoringConfig, SourceConfig, locations
from convoy.dataset.sources import source_of
from convoy.dataset.sources.file_splits import splits_of_files
from convoy.dataset.sources.table import TableSource
from convoy.dataset.sources.table_folders import TableFolder, find_table, partition_base
from convoy.errors import ConfigError, SourceError
from convoy.inference.sinks.table_definition import table_definition
from convoy.inference.sinks.write import score_to_output
from convoy.inference.sources import check_input, score_input
from tests.conftest import encoded, noise
from tests.field.inputs import tables
from tests.inference.packages import package

LOGS = {"delta": tables.deleted_rows, "iceberg": tables.iceberg, "hudi": tables.hudi}


def find(path):
    return find_table(str(path), "scoring.input")


def scored(spark, given, **fields):
    config = Config(scoring=ScoringConfig(input=str(given), **fields))
    check_input(config)
    return score_input(spark, config, package())


@pytest.mark.parametrize("kind", LOGS)
def test_the_folder_of_a_table_with_a_log_is_that_table_and_its_files_are_not(tmp_path, kind):
    table = tmp_path / "all" / "t [1]"
    table.mkdir(parents=True)
    LOGS[kind](table)
    (tmp_path / "link").symlink_to(table)
    expected = TableFolder(kind, (str(table),))
    for given in (table, f"{table}/", tmp_path / "link", f"{tmp_path}/all/t*", f"{tmp_path}/al?"):
        if str(given).endswith("al?"):
            with pytest.raises(SourceError, match=f"holds the {kind.title()} table '{table}'".replace("[1]", r"\[1\]")):
                find(given)
        else:
            assert find(given) == expected
    file = next(table.rglob("*.parquet"))
    patterns = (f"{tmp_path}/*/t*/**/*.parquet", f"{tmp_path}/all/t*/{{{file.name},x.parquet}}", file, file.parent)
    for given in patterns:
        if given == table or (kind == "iceberg" and "{" in str(given)):
            continue
        with pytest.raises(SourceError, match=rf"names files in the {kind.title()} table .*give the table's folder"):
            find(given)
    with pytest.raises(SourceError, match=f"holds the {kind.title()} table"):
        find(tmp_path)
    for source in ("folder", "manifest", "petastorm"):
        with pytest.raises(SourceError, match=rf"{kind.title()} table"):
            source_of(SourceConfig(kind=source, path=str(file if source == "manifest" else table)))


def test_the_partitions_of_a_delta_table_are_a_part_of_it(tmp_path):
    tables.deleted_rows(tmp_path, "day=1")
    for given in (f"{tmp_path}/day=*", tmp_path / "day=1", f"{tmp_path}/*/*.parquet"):
        with pytest.raises(SourceError, match="names files in the Delta table"):
            find(given)
    assert find(tmp_path) == TableFolder("delta", (str(tmp_path),))


def test_partition_folders_with_parquet_files_are_a_table_and_those_with_images_are_not(tmp_path):
    tables.partitioned(tmp_path / "t", name="000000_0")  # Hive's name for a file
    tables.partitioned(tmp_path / "spark")
    for day in ("1", "2"):
        (tmp_path / "images" / f"day={day}").mkdir(parents=True)
        (tmp_path / "images" / f"day={day}" / "1.png").write_bytes(encoded(noise(8, 6, 3)))
    for name in ("t", "spark"):
        table = tmp_path / name
        assert find(table) == TableFolder("parquet", (str(table),), str(table))
        one = find(f"{table}/day=2026-*")
        assert one is not None
        assert one.base == str(table)
        assert [Path(path).parent.name for path in one.paths] == ["day=2026-01-01", "day=2026-01-02"]
        assert find(table / "day=007") == TableFolder("parquet", (str(table / "day=007"),), str(table))
        assert find(f"{table}/*") == find(f"{table}/**") == find(f"{table}/*/*0*") != one
        with pytest.raises(SourceError, match=r"is a Parquet table; expected source.kind table"):
            source_of(SourceConfig(kind="folder", path=str(table)))
    assert find(tmp_path / "images") is find(f"{tmp_path}/images/*/*.png") is find(f"{tmp_path}/none/*") is None


def test_folders_that_are_no_one_table_are_refused(tmp_path):
    tables.partitioned(tmp_path / "a")
    tables.partitioned(tmp_path / "b", key="month")
    tables.write_rows(tmp_path / "flat" / "1.parquet", [1])
    tables.write_rows(tmp_path / "flat" / "older" / "1.parquet", [1])
    tables.write_rows(tmp_path / "mixed" / "1.parquet", [1])
    tables.partitioned(tmp_path / "mixed")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(encoded(noise(8, 6, 3)))
    for given, said in (
        ("[ab]", "different partition folders"),
        ("mixed", "different partition folders"),
        ("flat", "which is not a partition folder"),
        ("[ap]*", "which is none"),
        ("{a,pictures/*}", "which is none"),
    ):
        with pytest.raises(SourceError, match=said):
            find(f"{tmp_path}/{given}")
    tables.partitioned(tmp_path / "c")
    with pytest.raises(SourceError, match="files of several tables"):
        find(f"{tmp_path}/[ac]")
    found = find(f"{tmp_path}/flat/**/*.parquet")
    assert found is not None
    assert len(found.paths) == 2


@pytest.mark.parametrize(
    ("files", "pattern", "expected"),
    [
        (("train/0000", "test/0000"), "", {"train": "train", "test": "test"}),
        (("train/0000", "test/0000"), "*/*.parquet", {"train": "train", "test": "test"}),
        (("train set/0", "val set/0", "val set/1"), "", {"train set": "train", "val set": "validation"}),
        (("train-00000-of-00002", "train-00001-of-00002", "test-0-of-1-0af"), "", {"train": "train", "test": "test"}),
        (("train-0", "test-0", "extra-0"), "{train,test}-*.parquet", {"train": "train", "test": "test"}),
        (("cifar10-train", "cifar10-test"), "", {"cifar10-train": "train", "cifar10-test": "test"}),
        (("0_train", "1_test.snappy"), "", {"0_train": "train", "1_test": "test"}),
        (("mnist-train-0-of-1", "mnist-test-0-of-1"), "", {"mnist-train": "train", "mnist-test": "test"}),
        (("train-0", "train-1"), "", None),
        (("part-00000-5b3c-c000.snappy", "part-00001-5b3c-c000.snappy"), "", None),
    ],
)
def test_names_of_files_or_folders_are_splits(tmp_path, files, pattern, expected):
    for file in files:
        tables.write_rows(tmp_path / f"{file}.parquet", [1])
    given = os.path.join(tmp_path, pattern).rstrip("/")
    found = splits_of_files(given)
    assert (found and found.splits) == expected
    table = find(given)
    assert table is not None
    read = {path for part in table.paths for path in (Path(part).rglob("*.parquet") if os.path.isdir(part) else [part])}
    assert len(read) == (2 if "{" in pattern else len(files))


def test_folder_above_a_table_is_refused_with_the_folder_to_give(tmp_path):
    tables.splits_in_folders(tmp_path / "repo" / "default")
    (tmp_path / "repo" / "README.md").write_text("# pets")
    with pytest.raises(SourceError, match=f"give --source.path {tmp_path}/repo/default$"):
        source_of(SourceConfig("table", str(tmp_path / "repo")))
    tables.write_rows(tmp_path / "two" / "data" / "train-0.parquet", [1])
    with pytest.raises(SourceError, match=f"give --source.path {tmp_path}/two/data$"):
        source_of(SourceConfig("table", str(tmp_path / "two")))


def test_folder_beside_those_of_splits_is_not_left_out(tmp_path):
    tables.splits_in_folders(tmp_path, ("train", "test", "extra"))
    assert find(tmp_path) is None
    with pytest.raises(SourceError, match="beside them 'extra'"):
        splits_of_files(str(tmp_path))


@pytest.mark.spark
def test_partitions_of_pandas_are_their_values(spark, tmp_path):
    values = ["chat noir", "caf\u00e9", "\u732b", "a=b", "50%", "%41"]
    rows = pa.table({"content": [tables.image(i) for i in range(6)], "label": values})
    pq.write_to_dataset(rows, tmp_path / "t [1]", partition_cols=["label"])
    for given in ("t [1]", "t */*/*.parquet"):
        assert set(TableSource(f"{tmp_path}/{given}").classes(spark)) == set(values)
    assert {row["label"] for row in scored(spark, tmp_path / "t [1]", columns=["label"]).collect()} == set(values)


@pytest.mark.spark
def test_columns_that_only_some_files_have_are_read(spark, tmp_path):
    tables.write_rows(tmp_path / "a.parquet", (0, 1), label=["a", "b"])
    tables.write_rows(tmp_path / "b.parquet", (2, 3), label=["a", "b"], split=["test", "test"])
    source = TableSource(str(tmp_path))
    assert source.splits(spark) == {"test"}
    listed = source.listing(spark).groupBy("split").count().collect()
    assert {tuple(row) for row in listed} == {(None, 2), ("test", 2)}
    assert "split" in scored(spark, tmp_path).columns
    tables.write_rows(tmp_path / "c.parquet", (4, 5), klass=["a", "b"])
    with pytest.raises(SourceError, match="a row has no label"):
        source.classes(spark)


def test_csv_files_with_columns_in_another_order_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("path,label\n1.png,cat\n2.png,dog\n")
    (tmp_path / "b.csv").write_text('"path","label"\n3.png,cat\n4.png,dog\n')
    (tmp_path / "_SUCCESS").touch()
    for given in (tmp_path, f"{tmp_path}/*.csv"):
        source_of(SourceConfig("table", str(given), "csv"))
    (tmp_path / "b.csv").write_text("label,path\ncat,3.png\ndog,4.png\n")
    for given in (tmp_path, f"{tmp_path}/*.csv"):
        with pytest.raises(SourceError, match=r"b\.csv' label, path; expected the same in all files, in"):
            source_of(SourceConfig("table", str(given), "csv"))


@pytest.mark.spark
def test_splits_in_folders_are_ingested_as_splits_and_scored_together(spark, tmp_path):
    tables.splits_in_folders(tmp_path / "t", ("train set", "test set"))
    for given in ("t", "t/*/*.parquet"):
        source = TableSource(f"{tmp_path}/{given}")
        assert source.classes(spark) == ["a", "b"]
        assert source.splits(spark) == {"train", "test"}
        listed = source.listing(spark).groupBy("split", "class_name").count().collect()
        assert {tuple(row) for row in listed} == {(s, c, 1) for s in ("train", "test") for c in "ab"}
        assert source.notes(spark) == ["ingest: splits by the names of folders: test set is test, train set is train"]
    rows = scored(spark, tmp_path / "t", columns=["id"]).collect()
    assert sorted(row["id"] for row in rows if row["probability"] > 0) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("pattern", "base"),
    [
        ("/t/day=*/hour=1/*.parquet", "/t"),
        ("/t/day=1/hour=*", "/t"),
        ("/t/day=1", "/t"),
        ("s3a://bucket/t/day=*", "s3a://bucket/t"),
        ("s3a://bucket/t", "s3a://bucket/t"),
        ("t/{a,b}=1/x.csv", "t"),
        ("*.csv", "."),
        ("/*.csv", "/"),
    ],
)
def test_the_folder_that_partitions_are_in(pattern, base):
    assert partition_base(pattern) == base


@pytest.mark.spark
def test_a_partitioned_table_is_scored_with_its_partition_columns_as_text(spark, tmp_path):
    tables.partitioned(tmp_path / "t [1]", values=("2026-01-01", "007", "7"))
    found = scored(spark, tmp_path / "t [1]", columns=["id", "day"]).orderBy("id").collect()
    assert [(row["id"], row["day"]) for row in found] == list(enumerate(["2026-01-01"] * 2 + ["007"] * 2 + ["7"] * 2))
    assert all(row["probability"] > 0 for row in found)
    pattern = f"{tmp_path}/t *"
    some = scored(spark, f"{pattern}/day=*7/*.parquet", columns=["id", "day"]).orderBy("id").collect()
    assert [(row["id"], row["day"]) for row in some] == [(2, "007"), (3, "007"), (4, "7"), (5, "7")]
    assert spark.conf.get("spark.sql.sources.partitionColumnTypeInference.enabled") == "true"


@pytest.mark.spark
def test_partition_columns_are_labels_as_they_are_written(spark, tmp_path):
    tables.partitioned(tmp_path / "rows", key="label", values=("007", "7", "1e5", "100000"))
    for number, name in enumerate(("007", "7", "0012")):
        (tmp_path / "files" / f"label={name}").mkdir(parents=True)
        (tmp_path / "files" / f"label={name}" / f"{number}.png").write_bytes(tables.image(number))
    rows = TableSource(str(tmp_path / "rows"))
    assert set(rows.classes(spark)) == {"007", "7", "1e5", "100000"}
    for given in ("files", "files/label=*", "files/*/*.png"):
        source = TableSource(f"{tmp_path}/{given}", "binaryFile")
        assert set(source.classes(spark)) == {"007", "7", "0012"}
        listed = {row["path"].rpartition("/")[2]: row["class_name"] for row in source.listing(spark).collect()}
        assert listed == {"0.png": "007", "1.png": "7", "2.png": "0012"}


@pytest.mark.spark
def test_names_in_a_volume_are_the_same_whether_it_is_mounted_or_not(spark, tmp_path, monkeypatch):
    source = TableSource("dbfs:/Volumes/pets", "binaryFile")
    rows = spark.createDataFrame([("dbfs:/Volumes/pets/cat/1.png",)], "path string")
    for volumes in (tmp_path / "none", tmp_path):
        monkeypatch.setattr(locations, "_VOLUMES", str(volumes))
        assert [tuple(row) for row in rows.select(source._name(rows["path"])).collect()] == [("cat/1.png",)]


@pytest.mark.spark
@pytest.mark.parametrize("kind", LOGS)
def test_a_table_whose_format_spark_does_not_have_is_refused(spark, tmp_path, kind):
    LOGS[kind](tmp_path)
    with pytest.raises(SourceError, match=rf"scoring.input .* is a {kind.title()} table, and Spark does not have"):
        scored(spark, tmp_path)
    for given in (str(tmp_path), f"file:{tmp_path}", tmp_path.as_uri()):
        for form in (None, "parquet"):
            with pytest.raises(SourceError, match=rf"source.path .* is a {kind.title()} table, and Spark does not"):
                TableSource(given, form).classes(spark)
        assert TableSource(given).describe() == {"kind": "table", "path": str(tmp_path), "format": kind}


@pytest.mark.spark
def test_a_table_with_a_log_at_a_url_is_recognised_with_sparks_file_systems(spark, tmp_path):
    from convoy.dataset.sources.table_reading import log_table_at

    tables.deleted_rows(tmp_path / "t", "day=1")
    url = f"file://{tmp_path}/t"
    assert log_table_at(spark, url, "source.path") == TableFolder("delta", (url,))
    for given in (f"{url}/day=1", f"{url}/day=*/*.parquet", f"{url}/*"):
        with pytest.raises(SourceError, match="names files in the Delta table"):
            log_table_at(spark, given, "source.path")
    assert log_table_at(spark, f"file://{tmp_path}", "source.path") is None
    assert os.listdir(tmp_path) == ["t"]


def definition(spark, name):
    """What a user has said of a table: its columns, partitions, comments, properties and location."""
    rows = spark.sql(f"DESCRIBE TABLE EXTENDED {name}").collect()
    changing = ("Last Access", "Created Time", "Statistics")
    return [tuple(row) for row in rows if row[0] not in changing]


@pytest.fixture
def defined(spark, tmp_path):
    """A partitioned table elsewhere, with comments, a property, and its columns in another order."""
    columns = (
        "error string, model_version string, prediction string COMMENT 'the class', prediction_index int,"
        " probability float, id bigint, day string"
    )
    spark.sql(
        f"CREATE TABLE kept ({columns}) USING parquet PARTITIONED BY (day) LOCATION '{tmp_path}/kept'"
        " COMMENT 'scores' TBLPROPERTIES ('quality' = 'gold')"
    )
    yield "kept"
    spark.sql("DROP TABLE kept")


def write(spark, given, output, **fields):
    config = Config(scoring=ScoringConfig(input=str(given), output=output, columns=["id", "day"], **fields))
    return score_to_output(spark, config, package()).rows


def ids(spark, table):
    return sorted((row["day"], row["id"]) for row in spark.table(table).where("probability > 0").collect())


@pytest.mark.spark
def test_a_table_keeps_its_definition_whatever_the_mode(spark, tmp_path, defined):
    before = definition(spark, defined)
    tables.partitioned(tmp_path / "a", values=("1", "2"))
    tables.partitioned(tmp_path / "b", values=("2",))
    everything = [("1", 0), ("1", 1), ("2", 2), ("2", 3)]
    output = f"table:{defined}"
    assert write(spark, tmp_path / "a", output) == 4
    assert ids(spark, defined) == everything
    mode = "spark.sql.sources.partitionOverwriteMode"
    spark.conf.set(mode, "dynamic")
    try:
        assert write(spark, tmp_path / "b", output, mode="append") == 2
        assert ids(spark, defined) == sorted([*everything, ("2", 0), ("2", 1)])
        assert write(spark, tmp_path / "b", output, mode="incremental", key="id") == 0
        assert write(spark, tmp_path / "b", output) == 2  # the whole table, not one partition
        assert ids(spark, defined) == [("2", 0), ("2", 1)]
        assert spark.conf.get(mode) == "dynamic"
    finally:
        spark.conf.unset(mode)
    assert definition(spark, defined) == before
    assert {path.name for path in (tmp_path / "kept").glob("day=*")} == {"day=2"}


@pytest.mark.spark
def test_other_columns_are_refused_where_a_definition_would_be_lost(spark, tmp_path, defined):
    tables.partitioned(tmp_path / "a", values=("1",))
    assert write(spark, tmp_path / "a", f"table:{defined}") == 2
    before = definition(spark, defined)
    lost = "its partitions, its comment, comments of its columns, its location, its properties"
    with pytest.raises(ConfigError, match=rf"'top_k' would be new; replacing the table would lose {lost}: "):
        write(spark, tmp_path / "a", f"table:{defined}", top_k=2)
    assert definition(spark, defined) == before
    assert ids(spark, defined) == [("1", 0), ("1", 1)]


@pytest.mark.spark
@pytest.mark.parametrize(
    ("clause", "lost"),
    [
        ("USING orc", "its format orc"),
        ("USING parquet CLUSTERED BY (id) INTO 2 BUCKETS", "its buckets"),
        ("USING parquet TBLPROPERTIES ('owner of' = 'x')", "its properties"),
        ("USING parquet COMMENT 'scores'", "its comment"),
    ],
)
def test_what_a_definition_may_hold(spark, tmp_path, clause, lost):
    tables.partitioned(tmp_path / "a", values=("1",))
    spark.sql(f"CREATE TABLE defined_so (id bigint, old string) {clause}")
    spark.sql("ALTER TABLE defined_so ADD COLUMNS (prediction string, prediction_index int, probability float)")
    spark.sql("ALTER TABLE defined_so ADD COLUMNS (error string, model_version string)")
    try:
        with pytest.raises(ConfigError, match=f"would lose {lost}:"):
            write(spark, tmp_path / "a", "table:defined_so")
    finally:
        spark.sql("DROP TABLE defined_so")


@pytest.mark.spark
def test_a_table_of_no_further_definition_is_replaced(spark, tmp_path):
    tables.partitioned(tmp_path / "a", values=("1",))
    try:
        assert write(spark, tmp_path / "a", "table:plain") == 2
        assert write(spark, tmp_path / "a", "table:plain", top_k=2) == 2
        assert spark.table("plain").columns[-1] == "top_k"
        assert spark.table("plain").count() == 2
    finally:
        spark.sql("DROP TABLE IF EXISTS plain")


@pytest.mark.spark
def test_views_are_refused_before_anything_is_scored(spark, tmp_path, defined):
    tables.partitioned(tmp_path / "a", values=("1",))
    spark.sql(f"CREATE VIEW seen AS SELECT * FROM {defined}")
    spark.table(defined).createOrReplaceTempView("seen_here")
    try:
        for mode in ("overwrite", "append"):
            for name in ("seen", "seen_here"):
                with pytest.raises(ConfigError, match="is a view; expected the name of a table"):
                    write(spark, tmp_path / "a", f"table:{name}", mode=mode)
    finally:
        spark.sql("DROP VIEW seen")
        spark.catalog.dropTempView("seen_here")


@pytest.mark.spark
def test_a_column_called_comment_is_no_comment(spark):
    spark.sql("CREATE TABLE talked (`Comment` string, `Num Buckets` int) USING parquet")
    try:
        found = table_definition(spark, "talked")
        assert (found.kept, found.provider, found.partitioned, found.is_view) == ((), "parquet", False, False)
    finally:
        spark.sql("DROP TABLE talked")
