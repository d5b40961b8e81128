"""The network of a saved model: a Parquet file beside the metadata, in any file system that Spark writes to."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from convoy.errors import ModelError
from convoy.models.package import ModelPackage, described

_PART_BYTES = 32 << 20
_SCHEMA = "part int, content binary"


def package_facts(package: ModelPackage) -> dict[str, Any]:
    """Return what describes a package beside its network, for JSON."""
    return {
        "uri": package.uri,
        "run_id": package.run_id,
        "model_id": package.model_id,
        "classes": package.classes,
        "geometry": package.geometry and package.geometry.to_dict(),
        "shape": list(package.spec.shape),
        "dtype": package.spec.dtype,
    }


def write_package(spark: SparkSession, path: str, package: ModelPackage) -> None:
    """Write the network below a folder. Spark sends it to the task that writes as a part of the function."""
    one = spark.range(1, numPartitions=1)
    one.mapInArrow(functools.partial(_parts, content=package.keras_file), _SCHEMA).write.parquet(f"{path}/data")


def _parts(batches: Iterable[pa.RecordBatch], content: bytes) -> Iterator[pa.RecordBatch]:
    for _ in batches:
        for part, start in enumerate(range(0, len(content), _PART_BYTES)):
            columns = [pa.array([part], pa.int32()), pa.array([content[start : start + _PART_BYTES]], pa.binary())]
            yield pa.RecordBatch.from_arrays(columns, names=["part", "content"])


def read_package(spark: SparkSession, path: str, facts: Mapping[str, Any]) -> ModelPackage:
    """Read what ``write_package`` wrote.

    Args:
        spark: The session.
        path: The folder.
        facts: What ``package_facts`` returned.

    Raises:
        ModelError: The network is damaged or unsafe.
    """
    from convoy.models.keras_file import check

    parts = spark.read.schema(_SCHEMA).parquet(f"{path}/data").orderBy("part").collect()
    if [row.part for row in parts] != list(range(len(parts))) or not parts:
        raise ModelError(f"{path}/data is not complete; copy or save the model again")
    content = b"".join(bytes(row.content) for row in parts)
    check(content, path)
    return replace(described(facts["uri"], content, facts, facts["run_id"]), model_id=facts["model_id"])
