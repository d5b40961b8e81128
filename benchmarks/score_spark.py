"""Scorers in Spark: score_spark.py WAY TABLE NETWORK COLUMN.

Or convoy_split VERSION NETWORK SPLIT COPIES, or convoy_paths FOLDER NETWORK COLUMN.
"""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from epochs import serve

warnings.simplefilter("ignore")
SLOTS = 2


def prepare(way: str, table: str, network: str, column: str, copies: str = "1") -> Callable[[], int]:
    if way.startswith("convoy"):
        rows, scored = _convoy(way, table, Path(network), column, int(copies))
    else:
        spark = _plain_session()
        images = spark.read.parquet(table)
        rows = images.count()
        scored = images.select(_PEERS[way](spark, Path(network), column)(column).alias("probabilities"))

    def epoch() -> int:
        scored.write.format("noop").mode("overwrite").save()
        return rows

    return epoch


def _plain_session():
    """With Spark's defaults."""
    import os

    from pyspark.sql import SparkSession

    from convoy.cluster.spark import find_java

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if home := find_java(os.environ):
        os.environ["JAVA_HOME"] = home
    builder = SparkSession.builder.master(f"local[{SLOTS}]").config("spark.ui.enabled", "false")
    return (
        builder.config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )


def _convoy(way: str, table: str, network: Path, column: str, copies: int):
    import atexit
    import functools

    from score_data import package

    import convoy
    from convoy.cluster.spark import session
    from convoy.config import SparkConfig
    from convoy.dataset.storage.manifest import Manifest
    from convoy.inference.dataframe import score_dataset, score_task

    running = session("benchmark", SparkConfig(master=f"local[{SLOTS}]"))
    spark = running.__enter__()
    atexit.register(running.__exit__, None, None, None)
    if way == "convoy_split":
        manifest = Manifest.load(Path(table))
        task = score_task(spark, package(network), 256)
        scored = score_dataset(spark, Path(table), manifest, column, task)
        both = functools.reduce(lambda one, other: one.union(other), [scored] * copies)
        return manifest.split(column).rows * copies, both
    if way == "convoy_paths":
        files = [(str(path),) for path in sorted(Path(table).rglob("*.jpg"))]
        images = spark.createDataFrame(files, [column]).repartition(2 * SLOTS).cache()
    else:
        images = spark.read.parquet(table)
    return images.count(), convoy.score_images(images, package(network), column, columns=[])


def _spark_udf(spark, network: Path, column: str):
    import mlflow

    return mlflow.pyfunc.spark_udf(spark, str(network / "mlflow"), result_type="array<float>", env_manager="local")


def _predict_batch_udf(spark, network: Path, column: str):
    """As in its documentation."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import ArrayType, FloatType

    here = str(Path(__file__).parent)

    def make_predict():
        import keras

        model = keras.saving.load_model(network / "network.keras", compile=False)
        shape = model.input_shape[1:]
        if column == "pixels":
            return lambda pixels: model.predict(pixels.reshape(-1, *shape).astype("uint8"), verbose=0)
        sys.path.insert(0, here)
        from score_decode import decode

        return lambda contents: model.predict(decode(contents, shape), verbose=0)

    shapes = {"input_tensor_shapes": [[784]]} if column == "pixels" else {}
    return predict_batch_udf(make_predict, return_type=ArrayType(FloatType()), batch_size=1024, **shapes)


_PEERS = {"spark_udf": _spark_udf, "predict_batch_udf": _predict_batch_udf}


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]), ["pyspark", "mlflow", "tensorflow-cpu"], twice=True)
