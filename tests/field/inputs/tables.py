"""Tables in folders, as Spark, Delta, Iceberg, Hudi, Hive and pandas leave them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.spark_support import encoded


def image(seed, shape=(8, 6, 3)):
    """Return the bytes of a small PNG."""
    return encoded(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def write_rows(file: Path, ids, **columns):
    """Write a Parquet file with the columns ``id`` and ``content``, and further ones."""
    file.parent.mkdir(parents=True, exist_ok=True)
    ids = list(ids)
    pq.write_table(pa.table({"id": ids, "content": [image(i) for i in ids], **columns}), file)


def deleted_rows(folder: Path, partition=""):
    """Write a Delta table: rows 0 to 5 were written first, then 0 and 1 were deleted."""
    for name, ids in (("old", range(6)), ("new", range(2, 6))):
        write_rows(folder / partition / f"{name}.parquet", ids)
    (folder / "_delta_log").mkdir()
    add = {"partitionValues": {}, "size": 1, "modificationTime": 0, "dataChange": True}
    old, new = (f"{partition}/{name}.parquet".lstrip("/") for name in ("old", "new"))
    steps: tuple[list[dict[str, Any]], ...] = (
        [{"add": {"path": old, **add}}],
        [{"remove": {"path": old}}, {"add": {"path": new, **add}}],
    )
    for version, actions in enumerate(steps):
        text = "".join(json.dumps(action) + "\n" for action in actions)
        (folder / "_delta_log" / f"{version:020}.json").write_text(text)


def iceberg(folder: Path):
    """Write what tells an Iceberg table."""
    write_rows(folder / "data" / "00000-0.parquet", range(3))
    (folder / "metadata").mkdir()
    (folder / "metadata" / "v1.metadata.json").write_text("{}")


def hudi(folder: Path):
    """Write what tells a Hudi table."""
    write_rows(folder / "0_0-1-0.parquet", range(3))
    (folder / ".hoodie").mkdir()
    (folder / ".hoodie" / "hoodie.properties").write_text("hoodie.table.name=t\n")


def partitioned(folder: Path, key="day", values=("2026-01-01", "2026-01-02", "007"), name="part-0.parquet"):
    """Write a Parquet table with one partition folder for each value, two rows each."""
    for number, value in enumerate(values):
        write_rows(folder / f"{key}={value}" / name, (2 * number, 2 * number + 1))
    (folder / "_SUCCESS").touch()


def splits_in_folders(folder: Path, names=("train", "test"), file="0000.parquet"):
    """Write ``<split>/0000.parquet``, as Hugging Face converts datasets; two rows with the labels a and b each."""
    for number, name in enumerate(names):
        write_rows(folder / name / file, (2 * number, 2 * number + 1), label=["a", "b"])
