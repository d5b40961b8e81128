"""Difference between two versions of a dataset: samples by path and content, and settings."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from convoy.dataset.storage.filesystem import Location, opened
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import DatasetError

# Choices of the user, as opposed to consequences of the content.
_SETTINGS = ("image", "codec", "settings", "source", "classes", "weighted", "tools", "format")
_FACTS = ("digest", "split", "class", "weight")


@dataclass(frozen=True)
class Diff:
    """Differences between two versions; all counts are samples.

    Attributes:
        unchanged: Same path, content, split, class and weight.
        added: Only in the second; a renamed one is not counted here.
        removed: Only in the first; a renamed one is not counted here.
        renamed: Same content under another path.
        changed_content: Same path, other bytes.
        changed_split: Same path, other split.
        changed_label: Same path, other class (by name).
        changed_weight: Same path, other weight; samples without a weight have weight 1.
        settings: Name -> (value in the first, value in the second), for those that differ.
    """

    unchanged: int
    added: int
    removed: int
    renamed: int
    changed_content: int
    changed_split: int
    changed_label: int
    changed_weight: int
    settings: dict[str, tuple[Any, Any]]


def diff(first: Location, second: Location) -> Diff:
    """Compare two versions.

    Only paths, digests and labels are read, but those of both versions are held in memory: about half a
    kilobyte per image, half a gigabyte for a million; twenty million are the limit of a machine with 16 GB.

    Args:
        first: Folder of a version.
        second: Folder of the version to compare it with.

    Raises:
        DatasetError: A file is missing or damaged.
    """
    manifests = Manifest.load(first), Manifest.load(second)
    before, after = (_samples(*pair) for pair in zip((first, second), manifests, strict=True))
    keys = ["path", "copy"]
    both = before.join(after, keys, join_type="inner", left_suffix="_before", right_suffix="_after")
    same = {name: pc.equal(both[f"{name}_before"], both[f"{name}_after"]) for name in _FACTS}
    removed = before.select([*keys, "digest"]).join(after.select(keys), keys, join_type="left anti")
    added = after.select([*keys, "digest"]).join(before.select(keys), keys, join_type="left anti")
    renamed = _common(removed["digest"], added["digest"])
    return Diff(
        unchanged=_count(functools.reduce(pc.and_, same.values())),
        added=len(added) - renamed,
        removed=len(removed) - renamed,
        renamed=renamed,
        changed_content=len(both) - _count(same["digest"]),
        changed_split=len(both) - _count(same["split"]),
        changed_label=len(both) - _count(same["class"]),
        changed_weight=len(both) - _count(same["weight"]),
        settings=_changed_settings(*manifests),
    )


def _samples(version_path: Location, manifest: Manifest) -> pa.Table:
    """Return path, copy (0, 1 ... if a path occurs more than once), digest, split, class and weight of every sample."""
    classes = pa.array(manifest.classes, pa.string())
    columns = ["path", "digest", "label", *(["weight"] if manifest.weighted else [])]
    parts = []
    for name, split in manifest.splits.items():
        for file in split.files:
            path = version_path / name / file.name
            try:
                with opened(path) as stream:
                    table = pq.ParquetFile(stream).read(columns=columns)
            except (OSError, ValueError) as error:
                raise DatasetError(f"{path} cannot be read ({error}); run: convoy datasets verify") from None
            if not manifest.weighted:
                table = table.append_column("weight", pa.repeat(pa.scalar(1, pa.float32()), len(table)))
            table = table.append_column("split", pa.repeat(name, len(table)))
            parts.append(table.append_column("class", classes.take(table["label"].combine_chunks())))
    whole = pa.concat_tables(parts).drop_columns(["label"])
    return whole.append_column("copy", _copies(whole))


def _copies(samples: pa.Table) -> pa.Array:
    """Return how many samples before each have its path: int64, mostly 0; joins need unique keys."""
    copies = np.zeros(len(samples), np.int64)
    if pc.count_distinct(samples["path"]).as_py() < len(samples):
        order = pc.sort_indices(samples, [(key, "ascending") for key in ("path", *_FACTS)])
        paths = samples["path"].take(order)
        repeated = np.concatenate([[False], pc.equal(paths[1:], paths[:-1]).to_numpy()])
        position = np.arange(len(samples))
        copies[order.to_numpy()] = position - np.maximum.accumulate(np.where(repeated, 0, position))
    return pa.array(copies)


def _common(left: pa.ChunkedArray, right: pa.ChunkedArray) -> int:
    """Return the size of the intersection of two multisets."""
    counts = [
        pa.table({"digest": column}).group_by("digest").aggregate([("digest", "count")]) for column in (left, right)
    ]
    both = counts[0].join(counts[1], "digest", join_type="inner", left_suffix="_left", right_suffix="_right")
    return int(pc.sum(pc.min_element_wise(both["digest_count_left"], both["digest_count_right"])).as_py() or 0)


def _count(flags: pa.ChunkedArray) -> int:
    return int(pc.sum(flags).as_py() or 0)


def _changed_settings(first: Manifest, second: Manifest) -> dict[str, tuple[Any, Any]]:
    before, after = (_flat({k: v for k, v in dataclasses.asdict(m).items() if k in _SETTINGS}) for m in (first, second))
    names = sorted(before.keys() | after.keys())
    return {n: (before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
