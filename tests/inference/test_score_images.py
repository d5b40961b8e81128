"""``convoy.score_images`` and ``convoy.register_udf`` in a real Spark."""

import os
import zlib

import mlflow
import numpy as np
import pytest
from pyspark.sql import functions as F

import convoy
from convoy.dataset.storage import raw
from convoy.errors import ConfigError, ModelError, TrackingError
from convoy.images import prepare
from tests.conftest import encoded, noise
from tests.inference.packages import CLASSES, SMALL, package, signals, truth
from tests.logged import connect

pytestmark = pytest.mark.spark

ADDED = ["prediction", "prediction_index", "probability", "error", "model_version"]


def agree(rows, probabilities):
    """Collected rows say what these probabilities say."""
    assert [row["error"] for row in rows] == [None] * len(rows)
    assert [row["prediction_index"] for row in rows] == probabilities.argmax(1).tolist()
    assert [row["prediction"] for row in rows] == [CLASSES[i] for i in probabilities.argmax(1)]
    np.testing.assert_allclose([row["probability"] for row in rows], probabilities.max(1), atol=1e-5)
    assert {row["model_version"] for row in rows} == {"models:/animals/7"}


@pytest.fixture(scope="module")
def images():
    return noise(300, 8, 6, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, images):
    """The same images as files, in order of their names; more of them than a batch holds."""
    folder = tmp_path_factory.mktemp("images")
    for i, image in enumerate(images):
        (folder / f"{i:03d}.png").write_bytes(encoded(image))
    return folder


@pytest.fixture(scope="module")
def forms(spark, images, folder):
    """The images in every form that a DataFrame has them in, with a column ``key``."""
    values = [image.astype(int) for image in images]
    table = raw.encode(images).to_pylist()
    key = F.regexp_extract("path", r"(\d+)\.png", 1).cast("int").alias("key")
    files = spark.read.format("binaryFile").load(str(folder))
    spark_images = spark.read.format("image").load(str(folder))
    return {
        "files": files.select(key, "content"),
        "paths": files.select(key, "path"),
        "structs": spark_images.select(
            F.regexp_extract("image.origin", r"(\d+)\.png", 1).cast("int").alias("key"), "image"
        ),
        "raw": spark.createDataFrame(list(enumerate(table)), "key int, image binary"),
        "flat": spark.createDataFrame(
            [(i, v.ravel().tolist()) for i, v in enumerate(values)], "key int, image array<int>"
        ),
        "nested": spark.createDataFrame(
            [(i, v.tolist()) for i, v in enumerate(values)], "key int, image array<array<array<smallint>>>"
        ),
    }


@pytest.mark.parametrize("form", ["files", "paths", "structs", "raw", "flat", "nested"])
def test_predictions_are_those_of_keras_whatever_the_images_come_in(form, forms, images):
    scored = convoy.score_images(forms[form], package())
    assert scored.columns == [*forms[form].columns, *ADDED]
    agree(sorted(scored.collect(), key=lambda row: row["key"]), truth(images))


def test_options_add_columns_that_spark_ml_can_use(spark, forms, images):
    from pyspark.ml.functions import array_to_vector

    scored = convoy.score_images(
        forms["raw"], package(), columns=["key"], top_k=3, probabilities=True, embeddings=True
    ).orderBy("key")
    assert scored.columns == ["key", *ADDED, "top_k", "probabilities", "embedding"]
    rows = scored.collect()
    probabilities = truth(images)
    agree(rows, probabilities)
    np.testing.assert_allclose([row["probabilities"] for row in rows], probabilities, atol=1e-5)
    assert [[c["prediction_index"] for c in row["top_k"]] for row in rows] == np.argsort(-probabilities)[:, :3].tolist()
    [vector] = scored.select(array_to_vector("embedding").alias("v")).limit(1).collect()
    np.testing.assert_allclose(vector["v"].toArray(), rows[0]["embedding"], rtol=1e-4, atol=1e-5)  # computed anew
    assert len(rows[0]["embedding"]) == 7


def test_half_precision(forms, images):
    rows = convoy.score_images(forms["raw"], package(), half_precision=True).orderBy("key").collect()
    np.testing.assert_allclose([row["probability"] for row in rows], truth(images).max(1), atol=0.05)


def test_content_comes_back_as_it_was_though_it_is_cut_on_the_way(spark, monkeypatch):
    monkeypatch.setattr("convoy.inference.arrow_chunks._BATCH_BYTES", 1)  # pieces of 4 KiB
    large = [encoded(noise(60 + 10 * i, 50, 3, seed=i)) for i in range(9)]
    assert min(map(len, large)) > 8192
    rows = spark.createDataFrame(list(enumerate([*large, None, b"small"])), "key int, content binary").coalesce(1)
    found = convoy.score_images(rows, package()).collect()
    assert [row["content"] for row in found] == [*map(bytearray, large), None, bytearray(b"small")]
    assert [row["key"] for row in found] == list(range(11))
    agree(found[:9], truth(np.stack([prepare(content, SMALL) for content in large])))
    assert [row["error"].split(":")[0] for row in found[9:]] == ["empty", "not_an_image"]


def bomb():
    """A PNG of some bytes that says it has 30,000 x 30,000 pixels."""

    def chunk(name, payload):
        return len(payload).to_bytes(4, "big") + name + payload + zlib.crc32(name + payload).to_bytes(4, "big")

    size = (30_000).to_bytes(4, "big")
    header = chunk(b"IHDR", size + size + bytes([8, 2, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_a_row_that_cannot_be_scored_says_why_and_harms_no_other(spark, images):
    good = encoded(images[0])
    broken = bytearray(good)
    broken[60] ^= 255
    contents = [good, b"", None, b"GIF, he said", good[:50], bytes(broken), bomb(), good]
    rows = spark.createDataFrame(list(enumerate(contents)), "key int, content binary")
    found = convoy.score_images(rows, package()).orderBy("key").collect()
    reasons = [row["error"] and row["error"].split(":")[0] for row in found]
    assert reasons == [None, "empty", "empty", "not_an_image", "truncated", "corrupt", "too_large", None]
    for row in found:
        assert row["model_version"] == "models:/animals/7"
        assert ((row["prediction"] is None), row["probability"] is None) == ((row["error"] is not None),) * 2
    agree([found[0], found[7]], truth(images[[0, 0]]))


def test_paths_that_lead_nowhere_are_rows_with_an_error(spark, folder, images):
    paths = [str(folder / "000.png"), None, str(folder / "none.png"), str(folder), "", f"file://{folder}/001.png"]
    rows = spark.createDataFrame(list(enumerate(paths)), "key int, path string")
    found = convoy.score_images(rows, package()).orderBy("key").collect()
    assert [row["error"] is None for row in found] == [True, False, False, False, False, True]
    assert found[1]["error"] == "empty: the path is null"
    assert found[2]["error"] == "unreadable: No such file or directory"
    agree([found[0], found[5]], truth(images[:2]))


def test_no_rows_in_no_rows_out(spark, forms):
    assert convoy.score_images(forms["raw"].where("false"), package()).count() == 0


def test_arrays_that_are_no_images(spark):
    samples = np.random.default_rng(0).normal(size=(20, 12)).astype(np.float32)
    rows = spark.createDataFrame([(i, v.tolist()) for i, v in enumerate(samples)], "key int, signal array<double>")
    found = convoy.score_images(rows, signals(), "signal").orderBy("key").collect()
    agree(found, truth(samples))
    stored = spark.createDataFrame(list(enumerate(raw.encode(samples).to_pylist())), "key int, image binary")
    agree(convoy.score_images(stored, signals()).orderBy("key").collect(), truth(samples))


@pytest.mark.parametrize(
    ("schema", "options", "said"),
    [
        ("key int, photo binary", {}, "none of the columns is content, image, path.*photo .binary."),
        ("key int, photo binary", {"image_column": "foto"}, "no column 'foto'.*did you mean 'photo'.*key .int., photo"),
        ("key int, photo binary", {"image_column": "key"}, "column 'key' is int; expected image files .binary.*photo"),
        ("image array<string>", {}, "column 'image' is array<string>"),
        ("image struct<a: int>", {}, "column 'image' is struct<a:int>"),
        ("content binary, error string, Prediction int", {}, "adds: 'error', 'Prediction'"),
        ("content binary, label int", {"columns": ["lable"]}, "no column 'lable' to keep; did you mean 'label'"),
        ("content binary, `a``c` int", {}, "has a backtick"),
        ("content binary, `a``c` int", {"image_column": "content", "columns": ["a`c"]}, "has a backtick"),
        ("content binary", {"top_k": 0}, "top_k is 0"),
        ("content binary", {"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line_before_anything_runs(spark, schema, options, said):
    with pytest.raises(ConfigError, match=said) as refused:
        convoy.score_images(spark.createDataFrame([], schema), package(), **options)
    assert "\n" not in str(refused.value)


def test_names_that_clash_may_be_left_behind(spark, images):
    rows = spark.createDataFrame([(encoded(images[0]), "x", 1)], "content binary, error string, key int")
    agree(convoy.score_images(rows, package(), columns=["key"]).collect(), truth(images[:1]))


def test_a_model_that_does_not_fit_the_column_is_refused(spark):
    for schema in (
        "path string",
        "image struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>",
    ):
        with pytest.raises(ModelError, match=r"models:/animals/7 takes arrays, float32 \(12,\)"):
            convoy.score_images(spark.createDataFrame([], schema), signals())
    with pytest.raises(ModelError, match=r"array<array<int>>; expected flat arrays of 144 numbers, or arrays nested 3"):
        convoy.score_images(spark.createDataFrame([], "image array<array<int>>"), package())


def test_a_model_that_does_not_exist_is_one_line(spark, forms, tmp_path):
    connect(tmp_path)
    mlflow.MlflowClient().create_registered_model("animals")
    with pytest.raises(TrackingError, match="no model 'animal' is registered; there are animals"):
        convoy.score_images(forms["raw"], "models:/animal/1")


def test_the_engine_is_kept_between_tasks_and_a_model_between_batches(spark, forms):
    from convoy.inference import arrow_udf

    scored = convoy.score_images(forms["raw"].repartition(2), package(), columns=["key"])

    def loaded(batches):
        import pyarrow as pa

        for batch in batches:
            known = [os.getpid(), *sorted(id(p) for p in arrow_udf._loaded.values())]
            yield pa.RecordBatch.from_pydict({"known": [str(known)] * batch.num_rows})

    scored.count()
    first = {row["known"] for row in scored.mapInArrow(loaded, "known string").collect()}
    again = {row["known"] for row in scored.mapInArrow(loaded, "known string").collect()}
    assert first & again  # a worker that has loaded the network has it still


@pytest.mark.parametrize(
    "some",
    [("files", "structs", "flat"), pytest.param(("raw", "nested", "paths"), marks=pytest.mark.long)],
    ids=", ".join,
)
def test_sql(spark, forms, images, some):
    convoy.register_udf(spark, "classify", package())
    for form in some:
        name = forms[form].columns[1]
        forms[form].createOrReplaceTempView("images")
        rows = spark.sql(f"SELECT key, classify({name}) AS scored FROM images ORDER BY key").collect()
        agree([row["scored"] for row in rows], truth(images))
    rows = spark.sql(
        "SELECT classify(content).error AS error FROM VALUES (X'00'), (null), (X'') AS t(content)"
    ).collect()
    assert sorted(row["error"].split(":")[0] for row in rows) == ["empty", "empty", "not_an_image"]


def test_sql_with_options_and_as_a_function_of_columns(spark, forms, images):
    classify = convoy.register_udf(spark, "classify_all", package(), top_k=2, probabilities=True, embeddings=True)
    rows = forms["raw"].select("key", classify("image").alias("scored")).orderBy("key").collect()
    np.testing.assert_allclose([row["scored"]["probabilities"] for row in rows], truth(images), atol=1e-5)
    assert [row["scored"]["top_k"][0]["prediction"] for row in rows] == [row["scored"]["prediction"] for row in rows]
    assert {len(row["scored"]["embedding"]) for row in rows} == {7}
    with pytest.raises(ConfigError, match="'no name' is not a name for a SQL function"):
        convoy.register_udf(spark, "no name", package())


def test_importing_convoy_imports_nothing_else():
    import subprocess
    import sys

    code = "import sys, convoy; print(sorted({'pyspark', 'mlflow', 'tensorflow', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=1200, check=True)
    assert done.stdout.strip() == "[]"
