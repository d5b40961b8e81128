"""Small real versions of a dataset, written without Spark."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from convoy.config import StorageConfig
from convoy.dataset import catalog, raw
from convoy.dataset.manifest import NAME, Duplicates, FileEntry, Manifest, SizeStatistics, SplitEntry
from convoy.dataset.petastorm_metadata import add_petastorm_metadata
from convoy.dataset.schema import ARROW_SCHEMA, WEIGHTED_SCHEMA
from convoy.images import ArraySpec, Geometry

SHAPE = (2, 3, 1)
CLASSES = ("cat", "dog")
QUARANTINE = pa.schema([(name, pa.string()) for name in ("path", "reason", "detail")] + [("size", pa.int64())])


def write_version(
    root, version, samples, name="animals", classes=CLASSES, quarantined=0, weights=None, pixels=None, **manifest
) -> Path:
    """Publish a version of these samples: (path, digest, split, class name), in row groups of two, files of four.

    Weights, if any, are those of the samples' paths; others weigh 1. Pixels are 0, or drawn by a generator.
    """
    with catalog.staging(str(root), name) as staged:
        splits = {}
        for split in dict.fromkeys(sample[2] for sample in samples):
            (staged / split).mkdir()
            rows = [sample for sample in samples if sample[2] == split]
            files = [
                write_file(staged / split / f"part-{i:05d}.parquet", rows[at : at + 4], list(classes), weights, pixels)
                for i, at in enumerate(range(0, len(rows), 4))
            ]
            groups = {file.name: len(file.row_groups) for file in files}
            add_petastorm_metadata(
                str(staged / split), ArraySpec(SHAPE, "uint8"), StorageConfig(), groups, weights is not None
            )
            splits[split] = SplitEntry(len(rows), {c: sum(row[3] == c for row in rows) for c in classes}, files)
        if quarantined:
            (staged / "quarantine").mkdir()
            bad = [{"path": f"bad{i}", "reason": "empty", "detail": "0 bytes", "size": 0} for i in range(quarantined)]
            pq.write_table(pa.Table.from_pylist(bad, QUARANTINE), staged / "quarantine" / "part-00000.parquet")
        values = {
            "name": name,
            "version": version,
            "fingerprint": "f" * 64,
            "image": Geometry(*SHAPE, "stretch"),
            "codec": "raw",
            "classes": list(classes),
            "pixel_mean": [1.0],
            "pixel_std": [1.0],
            "class_weights": dict.fromkeys(classes, 1.0),
            "splits": splits,
            "sizes": SizeStatistics([2, 3], [2, 3], [2.0, 3.0], [[2, 3, len(samples)]]),
            "duplicates": Duplicates(0, 0, 0),
            "settings": {"validation_fraction": 0.1},
            "quarantined": quarantined,
            "source": {"kind": "folder", "path": "/images"},
            "created": "2026-01-01T00:00:00+00:00",
            "weighted": weights is not None,
            **manifest,
        }
        (staged / NAME).write_text(Manifest(**values).dumps())
        return catalog.publish(staged, version)


def write_file(path, rows, classes, weights=None, pixels=None) -> FileEntry:
    """Write rows as one Parquet file."""
    shape = (len(rows), *SHAPE)
    columns = [
        raw.encode(np.zeros(shape, np.uint8) if pixels is None else pixels.integers(0, 256, shape, np.uint8)),
        pa.array([classes.index(row[3]) for row in rows], pa.int32()),
        pa.array([row[0] for row in rows], pa.string()),
        pa.array([row[1] for row in rows], pa.string()),
    ]
    schema = ARROW_SCHEMA
    if weights is not None:
        schema = WEIGHTED_SCHEMA
        columns.append(pa.array([weights.get(row[0], 1.0) for row in rows], pa.float32()))
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), path, row_group_size=2)
    groups = [min(2, len(rows) - at) for at in range(0, len(rows), 2)]
    return FileEntry(path.name, groups, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


def samples(count=7, split="train") -> list[tuple[str, str, str, str]]:
    """Samples of both classes in turn."""
    return [(f"{CLASSES[i % 2]}/{split}{i}.png", f"{split}{i:032d}", split, CLASSES[i % 2]) for i in range(count)]
