"""Write scored rows so that readers see the old result or the new one, whole."""

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from convoy.errors import ConfigError

_OURS = {"prediction", "prediction_index", "probability", "error", "model_version"}


def output_folder(given: str) -> Path:
    """Return ``scoring.output`` as an absolute path.

    Raises:
        ConfigError: It holds something that is not an earlier result of this job.
    """
    path = Path(given).expanduser().absolute()
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not _is_earlier_result(path)):
        raise ConfigError(f"scoring.output {given!r} holds other files; choose another, or remove them")
    return path


def _is_earlier_result(folder: Path) -> bool:
    part = next(_parts(folder), None)
    if part is None or not (folder / "_SUCCESS").exists():
        return False
    try:
        return set(pq.read_schema(part).names) >= _OURS
    except (OSError, pa.ArrowInvalid):
        return False


def write_parquet(scored: DataFrame, target: Path) -> None:
    """Write Parquet files to a folder; what was there is replaced once the new result is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = uuid.uuid4().hex[:8]
    draft, old = target.with_name(f".{target.name}-{suffix}"), target.with_name(f".{target.name}-old-{suffix}")
    try:
        # Not percent-encoded: Hadoop takes names as they are.
        scored.write.parquet(f"file://{draft}")
        if target.exists():
            os.rename(target, old)
        try:
            os.rename(draft, target)
        except OSError:
            if old.exists():
                os.rename(old, target)
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def count(folder: Path) -> tuple[int, int]:
    """Return (rows, rows with an error) of a written result."""
    rows = errors = 0
    for part in _parts(folder):
        column = pq.ParquetFile(part).read(columns=["error"]).column("error")
        rows, errors = rows + len(column), errors + len(column) - column.null_count
    return rows, errors


def _parts(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix == ".parquet")
