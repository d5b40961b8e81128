"""Petastorm's own functions on the installed PyArrow, NumPy and pandas, whichever they are."""

import json
import pickle
import subprocess
import sys
import textwrap
import warnings

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

import convoy
from convoy.dataset.petastorm import compat
from tests.conftest import noise
from tests.dataset.petastorm.written import field, write_petastorm

needed = pytest.mark.skipif(not compat.NEEDED, reason="the installed PyArrow and NumPy have what Petastorm needs")
# Where nothing is adapted, Petastorm 0.13's threads lose rows: see test_small_datasets_are_read_whole_by_threads.
POOLS = pytest.mark.parametrize("pool", ["dummy", pytest.param("thread", marks=needed), "process"])
ROWS = 35
IMAGES = noise(ROWS, 6, 5, 3)
NOTES = [None if row % 3 == 0 else f"note {row}" for row in range(ROWS)]


@pytest.fixture(scope="module")
def petastorm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return convoy.petastorm()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    fields = [
        field("id", np.int64),
        field("image", np.uint8, (6, 5, 3), "png"),
        field("values", np.float32, (4,), "array"),
        field("note", np.str_, nullable=True),
        field("part", np.str_),
    ]
    columns = {
        "id": range(ROWS),
        "image": IMAGES,
        "values": np.arange(ROWS * 4, dtype=np.float32).reshape(ROWS, 4),
        "note": NOTES,
        "part": [f"p{row % 2}" for row in range(ROWS)],
    }
    return write_petastorm(tmp_path_factory.mktemp("compat") / "a folder", fields, columns, ["part"], 5)


@pytest.fixture(scope="module")
def url(folder):
    return f"file://{folder}"  # Petastorm takes no %20


def rows_of(reader):
    with reader:
        return sorted(reader, key=lambda row: row.id)


def run(code, *arguments):
    """Run code in a process of its own, which has imported nothing."""
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.long
@needed
def test_the_rest_of_the_process_sees_nothing_of_it():
    seen = run("""
        import convoy
        petastorm = convoy.petastorm()
        import petastorm.unischema, petastorm.reader, numpy, pyarrow, pyarrow.parquet, subprocess, sys
        assert "numpy.core.unicode_" not in sys.modules
        for statement in ("import pyarrow.filesystem", "import pyarrow.hdfs", "numpy.unicode_", "numpy.string_",
                          "pyarrow.localfs", "pyarrow.parquet.ParquetDatasetPiece", "petastorm.unischema.np.unicode_"):
            try:
                exec(statement)
                print(statement)
            except (ImportError, AttributeError):
                pass
        assert isinstance(subprocess.Popen, type)
        assert petastorm.unischema.np is not numpy
    """)
    assert seen == ["petastorm.unischema.np.unicode_"]


@pytest.mark.long
def test_a_failed_import_before_does_no_harm():
    lines = run("""
        try:
            import petastorm.unischema
            print("works as it is")
        except ImportError:
            print("fails")
        import convoy
        convoy.petastorm()
        from petastorm.unischema import _numpy_to_spark_mapping
        print(len(_numpy_to_spark_mapping()) > 8)
    """)
    assert lines == ["fails" if compat.NEEDED else "works as it is", "True"]


@pytest.mark.long
def test_nothing_is_installed_where_it_is_not_needed():
    lines = run("""
        import sys
        import convoy
        petastorm = convoy.petastorm()
        print(any("compat" in type(finder).__module__ for finder in sys.meta_path))
        print(type(petastorm.__loader__).__module__)
    """)
    named = compat.__name__ if compat.NEEDED else "importlib.machinery"
    assert lines == [str(compat.NEEDED), lines[1]]
    assert (lines[1] == named) == compat.NEEDED


@pytest.fixture(autouse=True)
def patience(petastorm, monkeypatch):
    """Petastorm gives its processes 20 s to start, which is little for a busy machine."""
    from petastorm.workers_pool import process_pool

    monkeypatch.setattr(process_pool, "_WORKERS_STARTED_TIMEOUT_S", 200)
    monkeypatch.setattr(process_pool, "_KEEP_TRYING_WHILE_ZMQ_AGAIN_IS_RAIZED_TIMEOUT_S", 200)


@pytest.mark.long
@needed
def test_small_datasets_are_read_whole_by_threads(petastorm, url):
    """Petastorm 0.13.1 by itself returns nothing in 4 of 10 readers."""
    assert {len(rows_of(petastorm.make_reader(url, ["id"], workers_count=10))) for _ in range(40)} == {ROWS}


@POOLS
def test_make_reader_returns_every_row_in_every_pool(petastorm, url, pool):
    rows = rows_of(petastorm.make_reader(url, reader_pool_type=pool, workers_count=2))
    assert [row.id for row in rows] == list(range(ROWS))
    assert [row.note for row in rows] == NOTES
    assert [row.part for row in rows] == [f"p{row % 2}" for row in range(ROWS)]
    np.testing.assert_array_equal(np.stack([row.image for row in rows]), IMAGES)
    assert rows[2].values.tolist() == [8, 9, 10, 11]
    assert rows[2].values.dtype == np.float32


@pytest.mark.long
@POOLS
def test_make_batch_reader_returns_every_row_in_every_pool(petastorm, url, pool):
    fields = ["id", "note", "part"]
    ids, notes, parts = [], [], []
    with petastorm.make_batch_reader(url, fields, reader_pool_type=pool, workers_count=2) as reader:
        for batch in reader:
            assert batch.note.dtype.kind == "U"
            ids += batch.id.tolist()
            notes += batch.note.tolist()
            parts += batch.part.tolist()
    assert sorted(zip(ids, notes, parts, strict=True)) == [(i, str(NOTES[i]), f"p{i % 2}") for i in range(ROWS)]


def test_shards_and_partitions_and_selected_fields(petastorm, url):
    shards = [
        rows_of(petastorm.make_reader(url, ["id", "part"], reader_pool_type="dummy", cur_shard=rank, shard_count=3))
        for rank in range(3)
    ]
    assert sorted(row.id for shard in shards for row in shard) == list(range(ROWS))
    assert all(shards)
    assert set(shards[0][0]._fields) == {"id", "part"}
    for filters in ([("part", "=", "p1")], [[("part", "in", {"p1"})]], [[("part", "!=", "p0")], [("part", "=", "x")]]):
        rows = rows_of(petastorm.make_reader(url, ["id"], reader_pool_type="dummy", filters=filters))
        assert [row.id for row in rows] == list(range(1, ROWS, 2))
    with pytest.raises(petastorm.NoDataAvailableError):
        petastorm.make_reader(url, reader_pool_type="dummy", cur_shard=0, shard_count=99)


def test_predicates_on_partitions_on_columns_and_on_batches(petastorm, url):
    from petastorm.predicates import in_lambda, in_set

    for make, predicate, expected in (
        (petastorm.make_reader, in_set({"p1"}, "part"), list(range(1, ROWS, 2))),
        (petastorm.make_reader, in_lambda(["id"], lambda number: number % 5 == 0), list(range(0, ROWS, 5))),
        (petastorm.make_reader, in_lambda(["note"], lambda note: note is None), list(range(0, ROWS, 3))),
    ):
        assert [row.id for row in rows_of(make(url, reader_pool_type="dummy", predicate=predicate))] == expected
    wanted = in_lambda(["id"], lambda numbers: numbers < 7)
    with petastorm.make_batch_reader(url, ["id", "note"], reader_pool_type="dummy", predicate=wanted) as reader:
        found = [pair for batch in reader for pair in zip(batch.id.tolist(), batch.note.tolist(), strict=True)]
    assert sorted(found) == [(i, str(NOTES[i])) for i in range(7)]


def test_transforms_of_rows_and_of_batches(petastorm, url):
    from petastorm.transform import TransformSpec

    def bright(row):
        return {**row, "image": row["image"] + np.uint8(1)}

    rows = rows_of(petastorm.make_reader(url, ["id", "image"], "dummy", transform_spec=TransformSpec(bright)))
    np.testing.assert_array_equal(np.stack([row.image for row in rows]), IMAGES + np.uint8(1))

    def marked(frame):
        frame["mark"] = "n" + frame["id"].astype(str)
        return frame[["id", "mark"]]

    spec = TransformSpec(marked, edit_fields=[("mark", np.str_, (), False)], removed_fields=["note"])
    with petastorm.make_batch_reader(url, ["id", "note"], reader_pool_type="dummy", transform_spec=spec) as reader:
        found = {i: mark for batch in reader for i, mark in zip(batch.id.tolist(), batch.mark.tolist(), strict=True)}
    assert found == {i: f"n{i}" for i in range(ROWS)}


def test_shuffling_by_seed_is_the_same_every_time(petastorm, url):
    orders = [
        [row.id for row in reader]
        for seed in (1, 1, 2)
        for reader in [petastorm.make_reader(url, ["id"], "dummy", shuffle_rows=True, seed=seed)]
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(ROWS))
    options = {"shuffle_row_groups": False, "shuffle_row_drop_partitions": 2}
    assert len(rows_of(petastorm.make_reader(url, ["id"], "dummy", **options))) == ROWS


@pytest.mark.train
def test_make_petastorm_dataset(petastorm, url):
    from petastorm.tf_utils import make_petastorm_dataset

    with petastorm.make_reader(url, ["id", "image", "part"], "dummy") as reader:
        samples = list(make_petastorm_dataset(reader).as_numpy_iterator())
    samples.sort(key=lambda sample: sample.id)
    np.testing.assert_array_equal(np.stack([sample.image for sample in samples]), IMAGES)
    assert samples[1].part == b"p1"
    with petastorm.make_batch_reader(url, ["id", "part"], "dummy") as reader:
        assert sum(len(batch.id) for batch in make_petastorm_dataset(reader)) == ROWS


@needed
def test_file_systems_of_fsspec_and_of_pyarrow(petastorm, folder, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/bucket/data", recursive=True)
    local = pyarrow.fs.SubTreeFileSystem(str(folder.parent), pyarrow.fs.LocalFileSystem())
    for where, options in (
        ("memory://bucket/data", {}),
        (f"file:///{folder.name}", {"filesystem": local}),
    ):
        rows = rows_of(petastorm.make_reader(where, reader_pool_type="dummy", **options))
        assert [row.note for row in rows] == NOTES
    with pytest.raises(OSError, match="is not a file; expected a folder of Parquet files"):
        petastorm.make_reader(f"file://{tmp_path}/missing", reader_pool_type="dummy")


@needed
def test_hdfs_without_hadoop_is_an_error_that_says_so(petastorm):
    with pytest.raises(OSError, match=r"libhdfs|libjvm|HADOOP_HOME|JNI"):
        petastorm.make_reader("hdfs://nowhere:1/x", hdfs_driver="libhdfs")


def test_single_files_and_the_cache_on_disk(petastorm, folder, url, tmp_path):
    files = [f"file://{path}" for path in sorted(folder.rglob("*.parquet"))]
    with petastorm.make_batch_reader(files, ["id"], reader_pool_type="dummy") as reader:
        assert sorted(i for batch in reader for i in batch.id.tolist()) == list(range(ROWS))
    cache = {"cache_type": "local-disk", "cache_location": str(tmp_path / "cache"), "cache_size_limit": 10**8}
    options = {**cache, "cache_row_size_estimate": 200, "num_epochs": 2}
    assert len(rows_of(petastorm.make_reader(url, reader_pool_type="dummy", **options))) == 2 * ROWS


@needed
def test_pickles_of_schemas_name_nothing_that_numpy_1_lacks():
    value = {"shape": (np.int64(3), None), "array": np.arange(3), "text": "cnumpy._core.", "bytes": b"cnumpy._core.\nx"}
    pickled = compat.portable_dumps(value)
    assert pickled.count(b"numpy._core") == 2  # what only looks like a name
    loaded = pickle.loads(pickled)
    assert {**loaded, "array": loaded["array"].tolist()} == {**value, "array": [0, 1, 2]}
    plain = {"shape": (3, None)}
    assert compat.portable_dumps(plain) == pickle.dumps(plain)


@needed
@pytest.mark.parametrize("pickled", [b"cnumpy\nunicode_\n.", b"cnumpy\nstring_\n."])
def test_schemas_of_python_2_can_be_read(petastorm, pickled):
    from petastorm.etl.legacy import depickle_legacy_package_name_compatible

    assert depickle_legacy_package_name_compatible(pickled) in (np.str_, np.bytes_)


@pytest.mark.long
@pytest.mark.spark
def test_objects_of_petastorm_are_unpickled_by_sparks_workers(spark, tmp_path):
    """In workers that have not imported Convoy: those of this session may have, so it is another one's.

    ``dict_to_spark_row`` and the schema are named in the function that is sent; see also ``test_stock``.
    """
    code = """
        import sys, json
        from pyspark.sql import SparkSession
        import convoy
        spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
        petastorm = convoy.petastorm()
        import numpy as np
        from pyspark.sql.types import StringType, LongType
        from petastorm.codecs import ScalarCodec
        from petastorm.unischema import Unischema, UnischemaField, dict_to_spark_row
        fields = [UnischemaField("a", np.int64, (), ScalarCodec(LongType())),
                  UnischemaField("b", np.str_, (), ScalarCodec(StringType()))]
        schema = Unischema("S", fields)
        rows = spark.sparkContext.parallelize([1, 2]).map(lambda n: dict_to_spark_row(schema, {"a": n, "b": str(n)}))
        print(json.dumps([list(row) for row in rows.collect()]))

        def sum_up(n):
            from petastorm import make_reader
            return make_reader.__module__
        print(json.dumps(spark.sparkContext.parallelize([1]).map(sum_up).collect()))
    """
    rows, modules = map(json.loads, run(code))
    assert (rows, modules) == ([[1, "1"], [2, "2"]], ["petastorm.reader"])


@pytest.mark.long
@pytest.mark.spark
def test_materialize_dataset_indexes_and_the_converter_of_data_frames(spark, petastorm, tmp_path):
    from petastorm.etl.rowgroup_indexers import SingleFieldIndexer
    from petastorm.etl.rowgroup_indexing import build_rowgroup_index
    from petastorm.selectors import SingleIndexSelector
    from petastorm.spark import SparkDatasetConverter, make_spark_converter

    from tests.dataset.petastorm import stock

    stock.write(tmp_path / "data", spark, ["label"])
    url = f"file://{tmp_path}/data"
    build_rowgroup_index(url, spark.sparkContext, [SingleFieldIndexer("names", "name")])
    assert b"numpy._core" not in (tmp_path / "data" / "_common_metadata").read_bytes()
    assert not list(tmp_path.rglob("._common_metadata.crc"))
    rows = list(petastorm.make_reader(url, reader_pool_type="dummy"))
    assert sorted(row.name for row in rows) == sorted(f"näme {row}" for row in range(30))
    selector = SingleIndexSelector("names", ["näme 4"])
    assert "näme 4" in [
        row.name for row in petastorm.make_reader(url, reader_pool_type="dummy", rowgroup_selector=selector)
    ]

    spark.conf.set(SparkDatasetConverter.PARENT_CACHE_DIR_URL_CONF, f"file://{tmp_path}/cache")
    converter = make_spark_converter(spark.range(50).selectExpr("id", "cast(id as double) / 2 as half"))
    with converter.make_tf_dataset(batch_size=10, num_epochs=1) as dataset:
        halves = sorted(float(half) for batch in dataset for half in batch.half)
    assert halves == [row / 2 for row in range(50)]
    assert len(converter) == 50
    converter.delete()
    assert not list((tmp_path / "cache").rglob("*.parquet"))


def test_plain_parquet_files_without_metadata_of_petastorm(petastorm, tmp_path):
    table = pa.table({"a": [1, 2, 3], "s": ["x", None, "z"], "l": [[1, 2]] * 3})
    pq.write_table(table, tmp_path / "1.parquet")
    with petastorm.make_batch_reader(f"file://{tmp_path}", reader_pool_type="dummy") as reader:
        (batch,) = reader
    assert (batch.a.tolist(), batch.s.tolist(), batch.l.tolist()) == ([1, 2, 3], ["x", "None", "z"], [[1, 2]] * 3)
