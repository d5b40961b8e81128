"""How many files and row groups: sizes are bounded, readers and writers have work, and tasks get one file each."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import functions as F

from convoy.dataset.ingest.layout import FILE_MIB, MIB, SOURCE_MIB, lay_out, murmur3, partition_keys

row_counts, row_sizes = st.integers(1, 5_000_000), st.integers(1, 2_000_000)
group_sizes, source_sizes = st.floats(0.01, 512), st.integers(0, 10**14)


@given(row_counts, row_sizes, group_sizes, source_sizes)
def test_sizes_are_bounded(rows, row_bytes, row_group_mb, source_bytes):
    layout = lay_out(rows, row_bytes, row_group_mb, source_bytes)
    assert layout.rows_per_group == 1 or layout.rows_per_group * row_bytes <= row_group_mb * MIB
    assert 1 <= layout.files <= rows
    if layout.files < rows:
        assert rows * row_bytes / layout.files <= FILE_MIB * MIB
        assert source_bytes / layout.files <= SOURCE_MIB * MIB


@given(st.integers(2048, 5_000_000), row_sizes, group_sizes)
def test_several_readers_and_writers_have_work(rows, row_bytes, row_group_mb):
    layout = lay_out(rows, row_bytes, row_group_mb)
    assert layout.files >= 4
    assert math.ceil(rows / layout.files / layout.rows_per_group) * layout.files >= 8


@pytest.mark.parametrize("rows", [512, 800, 1024, 1700])
def test_more_than_one_row_group_makes_at_least_two_files(rows):
    layout = lay_out(rows, 1000, 8)
    assert layout.rows_per_group < rows
    assert layout.files >= 2


def test_few_rows_are_not_scattered():
    layout = lay_out(255, 3000, 8)
    assert (layout.files, layout.rows_per_group) == (1, 255)


def test_large_sources_of_small_images_are_many_tasks():
    assert lay_out(10_000, 150_000, 8, source_bytes=50 << 30).files == 200


@pytest.mark.spark
@pytest.mark.parametrize("partitions", [1, 2, 7, 64])
def test_spark_sends_every_number_to_its_partition(spark, partitions):
    numbers = spark.createDataFrame([(number,) for number in partition_keys(partitions)], "number int")
    placed = numbers.repartition(partitions, "number").select("number", F.spark_partition_id().alias("partition"))
    assert {row.number: row.partition for row in placed.collect()} == {
        n: i for i, n in enumerate(partition_keys(partitions))
    }


@pytest.mark.spark
def test_the_hash_is_sparks(spark):
    values = [0, 1, 2, 42, 1000, 2**31 - 1]
    rows = spark.createDataFrame([(value,) for value in values], "value int").select(F.hash("value").alias("hash"))
    assert [murmur3(value) for value in values] == [row.hash for row in rows.collect()]
