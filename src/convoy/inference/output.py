"""Write scored rows so that readers see the old result or the new one, whole."""

import os
import shutil
import uuid
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from convoy.errors import ConfigError


def check_output(folder: str) -> None:
    """Raise ``ConfigError`` when the folder holds something that is not an earlier result."""
    path = Path(folder)
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not (path / "_SUCCESS").exists()):
        raise ConfigError(f"scoring.output {folder!r} holds other files; choose another, or remove them")


def write_parquet(scored: DataFrame, folder: str) -> None:
    """Write Parquet files to a folder; what was there is replaced once the new result is complete."""
    target = Path(folder).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = uuid.uuid4().hex[:8]
    draft, old = target.with_name(f".{target.name}-{suffix}"), target.with_name(f".{target.name}-old-{suffix}")
    try:
        scored.write.parquet(_url(draft))
        if target.exists():
            os.rename(target, old)
        os.rename(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _url(path: Path) -> str:
    """The path for Spark, whatever its default file system is. Not percent-encoded: Hadoop takes names as they are."""
    return f"file://{path}"


def count(spark: SparkSession, folder: str) -> tuple[int, int]:
    """Return (rows, rows with an error) of a written result."""
    written = spark.read.parquet(_url(Path(folder).absolute()))
    row = written.agg(F.count("*"), F.count("error")).first()
    assert row is not None
    return int(row[0]), int(row[1])
