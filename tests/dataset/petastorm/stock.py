"""What both environments of ``test_stock`` run: ``stock.py read FOLDER...`` or ``stock.py write FOLDER``.

Stock Petastorm is imported as its users do; with current versions it is ``convoy.petastorm()``.
"""

import hashlib
import json
import sys
import warnings

import numpy as np

SHAPE = (6, 5, 3)


def usable_petastorm():
    warnings.simplefilter("ignore")
    if "convoy" in sys.modules:
        return sys.modules["convoy"].petastorm()
    import petastorm

    return petastorm


def read(folder):
    """Read a dataset by row and by batch; return its versions, its schema for Spark, and its rows."""
    petastorm = usable_petastorm()
    from petastorm.etl.dataset_metadata import get_schema_from_dataset_url

    url = f"file://{folder}"
    schema = get_schema_from_dataset_url(url)
    rows = []
    with petastorm.make_reader(url, reader_pool_type="dummy", shuffle_row_groups=False) as reader:
        for row in reader:
            image = np.ascontiguousarray(row.image)
            digest = hashlib.sha256(image.tobytes()).hexdigest()
            rows.append([str(row.label), [*image.shape], image.dtype.name, digest])
    batched = 0
    with petastorm.make_batch_reader(url, reader_pool_type="thread", workers_count=2) as reader:
        for batch in reader:
            batched += len(batch.label)
    return {
        "numpy": np.__version__,
        "petastorm": petastorm.__version__,
        "fields": sorted(schema.fields),
        "spark": json.loads(schema.as_spark_schema().json()),
        "rows": sorted(rows),
        "batched": batched,
    }


def samples():
    """Rows of the dataset that ``write`` writes: integer, text, image and array."""
    generator = np.random.default_rng(7)
    for row in range(30):
        yield {
            "label": np.int32(row % 3),
            "name": f"näme {row}",
            "note": None if row % 2 else "even",
            "image": generator.integers(0, 256, SHAPE, np.uint8),
            "values": generator.normal(size=(2, 4)).astype(np.float32),
        }


def unischema():
    usable_petastorm()
    from petastorm.codecs import CompressedImageCodec, NdarrayCodec, ScalarCodec
    from petastorm.unischema import Unischema, UnischemaField
    from pyspark.sql.types import IntegerType, StringType

    shape = tuple(np.int64(side) for side in (2, 4))  # NumPy's own integers are pickled, too
    return Unischema(
        "Stock",
        [
            UnischemaField("label", np.int32, (), ScalarCodec(IntegerType()), False),
            UnischemaField("name", np.str_, (), ScalarCodec(StringType()), False),
            UnischemaField("note", np.str_, (), ScalarCodec(StringType()), True),
            UnischemaField("image", np.uint8, SHAPE, CompressedImageCodec("png"), False),
            UnischemaField("values", np.float32, shape, NdarrayCodec(), False),
        ],
    )


def write(folder, spark, partition_by=()):
    """Write ``samples`` as the documentation of Petastorm does: ``materialize_dataset`` and ``dict_to_spark_row``."""
    schema = unischema()
    from petastorm.etl.dataset_metadata import materialize_dataset
    from petastorm.unischema import dict_to_spark_row

    url = f"file://{folder}"
    with materialize_dataset(spark, url, schema, 1):
        rows = spark.sparkContext.parallelize(list(samples()), 2).map(lambda row: dict_to_spark_row(schema, row))
        spark.createDataFrame(rows, schema.as_spark_schema()).write.mode("overwrite").partitionBy(
            *partition_by
        ).parquet(url)


if __name__ == "__main__":
    action, *folders = sys.argv[1:]
    if action == "read":
        for folder in folders:
            print(json.dumps(read(folder)))
    else:
        from pyspark.sql import SparkSession

        with SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate() as spark:
            write(folders[0], spark)
