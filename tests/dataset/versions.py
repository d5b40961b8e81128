"""Small real versions of a dataset, written without Spark."""

import hashlib
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from convoy.config import StorageConfig
from convoy.dataset.petastorm.schema import add_petastorm_metadata
from convoy.dataset.storage import catalog
from convoy.dataset.storage.codec import encode_column
from convoy.dataset.storage.manifest import Duplicates, FileEntry, Manifest, SizeStatistics, SplitEntry
from convoy.dataset.storage.object_catalog import data_file
from convoy.dataset.storage.schema import ARROW_SCHEMA, WEIGHTED_SCHEMA
from convoy.images import ArraySpec, Geometry

SHAPE = (2, 3, 1)
CLASSES = ("cat", "dog")
QUARANTINE = pa.schema([(name, pa.string()) for name in ("path", "reason", "detail")] + [("size", pa.int64())])


def write_version(
    root,
    version,
    samples,
    name="animals",
    classes=CLASSES,
    quarantined=0,
    weights=None,
    pixels=None,
    wait=lambda: None,
    **manifest,
) -> Any:
    """Publish a version of these samples: (path, digest, split, class name), in row groups of two, files of four.

    Weights, if any, are those of the samples' paths; others weigh 1. Pixels are 0, or drawn by a generator. ``wait`` is
    called when the data is written. Returns None if another writer has published it (in an object store).
    """
    with catalog.staging(str(root), name, version) as staged:
        writer = getattr(staged, "writer", "")
        splits = {}
        for split in dict.fromkeys(sample[2] for sample in samples):
            (staged / split).mkdir()
            rows = [sample for sample in samples if sample[2] == split]
            files = [
                write_file(
                    staged / split / data_file(f"part-{i:05d}.parquet", writer),
                    rows[at : at + 4],
                    list(classes),
                    weights,
                    pixels,
                )
                for i, at in enumerate(range(0, len(rows), 4))
            ]
            splits[split] = SplitEntry(len(rows), {c: sum(row[3] == c for row in rows) for c in classes}, files)
        wait()
        with catalog.publishing(staged) as first:
            if not first:
                return None
            for split, entry in splits.items():
                groups = {file.name: len(file.row_groups) for file in entry.files}
                add_petastorm_metadata(
                    str(staged / split), ArraySpec(SHAPE, "uint8"), StorageConfig(), groups, weights is not None
                )
            if quarantined:
                (staged / "quarantine").mkdir()
                bad = [{"path": f"bad{i}", "reason": "empty", "detail": "0", "size": 0} for i in range(quarantined)]
                write_table(pa.Table.from_pylist(bad, QUARANTINE), staged / "quarantine" / "part-00000.parquet")
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
            return catalog.publish(staged, version, Manifest(**values).dumps())


def write_file(path, rows, classes, weights=None, pixels=None) -> FileEntry:
    """Write rows as one Parquet file."""
    shape = (len(rows), *SHAPE)
    columns = [
        encode_column(
            np.zeros(shape, np.uint8) if pixels is None else pixels.integers(0, 256, shape, np.uint8),
            [],
            StorageConfig(),
            None,
        ),
        pa.array([classes.index(row[3]) for row in rows], pa.int32()),
        pa.array([row[0] for row in rows], pa.string()),
        pa.array([row[1] for row in rows], pa.string()),
    ]
    schema = ARROW_SCHEMA
    if weights is not None:
        schema = WEIGHTED_SCHEMA
        columns.append(pa.array([weights.get(row[0], 1.0) for row in rows], pa.float32()))
    write_table(pa.Table.from_arrays(columns, schema=schema), path, row_group_size=2)
    groups = [min(2, len(rows) - at) for at in range(0, len(rows), 2)]
    return FileEntry(path.name, groups, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


def write_table(table, path, **options):
    """Write a Parquet file to a file system or an object store."""
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    path.write_bytes(file.getvalue())


def samples(count=7, split="train") -> list[tuple[str, str, str, str]]:
    """Samples of both classes in turn."""
    return [(f"{CLASSES[i % 2]}/{split}{i}.png", f"{split}{i:032d}", split, CLASSES[i % 2]) for i in range(count)]


def write_arrays(folder, split, images, labels, weights=None, codec="raw", rows_per_group=5, groups_per_file=2):
    """Write these samples (N, ...) as one split of a version of its own; returns its manifest. Labels are below 10."""
    storage, schema = StorageConfig(codec), ARROW_SCHEMA if weights is None else WEIGHTED_SCHEMA
    (folder / split).mkdir(parents=True)
    names, files, per_file = [f"{n}" for n in range(10)], [], rows_per_group * groups_per_file
    for number, at in enumerate(range(0, len(labels), per_file)):
        rows = np.arange(at, min(at + per_file, len(labels)))
        path = folder / split / f"part-{number:05d}.parquet"
        columns = [
            encode_column(images[rows], [], storage, None),
            pa.array(labels[rows], pa.int32()),
            pa.array([f"{row}.png" for row in rows]),
            pa.array([f"{row:032d}" for row in rows]),
            *([] if weights is None else [pa.array(weights[rows], pa.float32())]),
        ]
        as_ingest_does = {
            "compression": {name: "NONE" if name == "image" else "ZSTD" for name in schema.names},
            "use_dictionary": ["path"],
            "write_statistics": ["label"],
        }
        table = pa.Table.from_arrays(columns, schema=schema)
        pq.write_table(table, path, row_group_size=rows_per_group, **as_ingest_does)
        groups = [min(rows_per_group, len(rows) - start) for start in range(0, len(rows), rows_per_group)]
        files.append(FileEntry(path.name, groups, path.stat().st_size, "-"))
    spec = ArraySpec(images.shape[1:], images.dtype.name)
    groups_of = {file.name: len(file.row_groups) for file in files}
    add_petastorm_metadata(str(folder / split), spec, storage, groups_of, weights is not None)
    return Manifest(
        name="arrays",
        version="1",
        fingerprint="f" * 64,
        image=None,
        codec=codec,
        classes=names,
        pixel_mean=[1.0],
        pixel_std=[1.0],
        class_weights=dict.fromkeys(names, 1.0),
        splits={split: SplitEntry(len(labels), {n: int(np.sum(labels == int(n))) for n in names}, files)},
        sizes=None,
        duplicates=Duplicates(0, 0, 0),
        settings={},
        quarantined=0,
        source={"kind": "arrays"},
        created="2026-01-01T00:00:00+00:00",
        shape=spec.shape,
        dtype=spec.dtype,
        weighted=weights is not None,
    )
