"""A DataFrame as a source."""

import pickle

import numpy as np
import pytest
from pyspark.sql import functions as F

import convoy
from convoy.config import ColumnsConfig, Config, DatasetConfig, ImageConfig, SourceConfig
from convoy.dataset.sources.dataframe import source_of_frame
from convoy.errors import SourceError
from tests.conftest import encoded, noise

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def frame(spark):
    files = [encoded(noise(6, 5, 3, seed=i)) for i in range(30)]
    return spark.createDataFrame([(file, "ab"[i % 2]) for i, file in enumerate(files)], "jpg binary, kind string")


def config_in(folder, **columns):
    image = ImageConfig(6, 5, 3)
    return Config(
        source=SourceConfig("table", columns=ColumnsConfig(**columns)), dataset=DatasetConfig(str(folder), image=image)
    )


def test_a_dataframe_is_the_version_that_the_table_of_its_rows_is(spark, frame, tmp_path):
    config = config_in(tmp_path / "datasets", image="jpg", label="kind")
    first = convoy.ingest(config, dataframe=frame)
    assert sum(first.rows.values()) == 30
    frame.write.parquet(str(tmp_path / "table"))
    source = SourceConfig("table", str(tmp_path / "table"), columns=config.source.columns)
    again = convoy.ingest(Config(source=source, dataset=config.dataset), spark)
    assert (again.existed, again.version) == (True, first.version)


def test_it_is_sent_to_workers_without_the_dataframe(frame):
    source = source_of_frame(frame, ColumnsConfig(image="jpg", label="kind"))
    assert pickle.loads(pickle.dumps(source)).frame is None
    assert source.frame is frame


def test_rows_that_change_between_the_passes_are_found(spark, tmp_path):
    @F.udf("binary")
    def new_image(number):
        import os

        from tests.spark_support import encoded

        return encoded(np.frombuffer(os.urandom(90), np.uint8).reshape(6, 5, 3))

    changing = spark.range(30).select(
        new_image.asNondeterministic()("id").alias("content"), (F.col("id") % 2).cast("string").alias("label")
    )
    with pytest.raises(SourceError, match=r"had 30 rows when it was listed, and 0 when they were written.*df.cache"):
        convoy.ingest(config_in(tmp_path), dataframe=changing)
