"""The peers that run in Spark, with Convoy's versions of everything."""

import warnings
from pathlib import Path

import numpy as np
import peer_images
from petastorm.codecs import NdarrayCodec, ScalarCodec
from petastorm.etl.dataset_metadata import materialize_dataset
from petastorm.unischema import Unischema, UnischemaField, dict_to_spark_row
from pyspark.sql import SparkSession
from pyspark.sql.types import IntegerType

SLICES_PER_CORE = 4


def petastorm_recipe(spark: SparkSession, folder: str, shape: tuple[int, int, int], output: Path) -> None:
    """Write a Petastorm dataset as the examples in its documentation do: one dictionary per image, through Spark."""
    context = spark.sparkContext
    schema = Unischema(
        "Images",
        [
            UnischemaField("image", np.uint8, shape, NdarrayCodec(), False),
            UnischemaField("label", np.int32, (), ScalarCodec(IntegerType()), False),
        ],
    )

    def row(item):
        return dict_to_spark_row(schema, {"image": peer_images.load(item[0], shape), "label": item[1]})

    url = output.as_uri()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        with materialize_dataset(spark, url, schema, row_group_size_mb=8):
            items = peer_images.labelled_paths(folder)
            rows = context.parallelize(items, SLICES_PER_CORE * context.defaultParallelism).map(row)
            frame = spark.createDataFrame(rows, schema.as_spark_schema())
            frame.write.mode("overwrite").option("compression", "none").parquet(url)


def binary_file(spark: SparkSession, folder: str, output: Path) -> None:
    """Copy the files' bytes into Parquet with Spark's own reader of files; nothing is decoded."""
    files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(folder)
    files.write.mode("overwrite").parquet(str(output))
