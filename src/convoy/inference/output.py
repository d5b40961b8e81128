"""Write scored rows so that readers see the old result or the new one, whole."""

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from convoy.errors import ConfigError, SourceError

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


def write_parquet(scored: DataFrame, target: Path, max_error_fraction: float = 1.0) -> tuple[int, int]:
    """Write Parquet files to a folder; what was there is replaced once the new result is complete.

    Args:
        scored: The rows.
        target: The folder.
        max_error_fraction: With a larger share of rows with an error the old result stays.

    Returns:
        (rows, rows with an error).

    Raises:
        SourceError: Too many rows have an error; the message has the most frequent one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = uuid.uuid4().hex[:8]
    draft, old = target.with_name(f".{target.name}-{suffix}"), target.with_name(f".{target.name}-old-{suffix}")
    try:
        # Not percent-encoded: Hadoop takes names as they are.
        scored.write.parquet(f"file://{draft}")
        rows, errors = count(draft)
        if errors > max_error_fraction * rows:
            raise SourceError(
                f"{errors:,} of {rows:,} rows cannot be scored, more than scoring.max_error_fraction"
                f" {max_error_fraction:g}, so nothing was published; most often: {_commonest_error(draft)}"
            )
        if target.exists():
            os.rename(target, old)
        try:
            os.rename(draft, target)
        except OSError:
            if old.exists():
                os.rename(old, target)
            raise
        return rows, errors
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


def _commonest_error(folder: Path) -> str:
    found: Counter[str] = Counter()
    for part in _parts(folder):
        found.update(pq.ParquetFile(part).read(columns=["error"]).column("error").drop_null().to_pylist())
    return found.most_common(1)[0][0]


def _parts(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix == ".parquet")
