"""Hugging Face datasets as Parquet files: the names of classes in their metadata."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq
import yaml

from convoy.dataset.sources.table_folders import matches_of

_LEVELS = 3
_CARD_BYTES = 1 << 20


def class_label_names(path: str, label: str) -> list[str] | None:
    """Return the names of a ``ClassLabel``, whose labels are their indices.

    They are in the footer of each Parquet file that the ``datasets`` library has written, or in ``dataset_info.json``,
    ``dataset_infos.json`` or the head of ``README.md``, beside the files or up to two folders above.

    Args:
        path: A Parquet file, a folder of some, or a pattern; anything else has no names.
        label: The column.
    """
    file = next(parquet_files(path), None)
    if file is None:
        return None
    for features in (*_in_footer(file), *_beside(os.path.dirname(os.path.abspath(file)))):
        if names := _names(features, label):
            return names
    return None


def parquet_files(path: str, levels: int = _LEVELS) -> Iterator[str]:
    """Yield the Parquet files that a file, a folder (with folders below it, up to some levels) or a pattern names."""
    if os.path.isfile(path):
        yield path
    elif os.path.isdir(path):
        found = sorted(name for name in os.listdir(path) if not name.startswith((".", "_")))
        yield from (os.path.join(path, name) for name in found if name.endswith(".parquet"))
        for folder in (os.path.join(path, name) for name in found if levels > 1):
            if os.path.isdir(folder):
                yield from parquet_files(folder, levels - 1)
    else:
        yield from sorted(filter(os.path.isfile, matches_of(path)))


def _in_footer(file: str) -> Iterator[Any]:
    try:
        found = (pq.read_schema(file).metadata or {}).get(b"huggingface")
        if found:
            yield json.loads(found).get("info", {}).get("features")
    except (OSError, ValueError, AttributeError):  # not a Parquet file: Spark reports it
        return


def _beside(folder: str) -> Iterator[Any]:
    for _ in range(_LEVELS):
        for name in ("dataset_info.json", "dataset_infos.json", "README.md"):
            try:
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    text = file.read(_CARD_BYTES)
                infos = _card(text) if name == "README.md" else json.loads(text)
            except (OSError, ValueError, yaml.YAMLError):
                continue
            for info in infos if isinstance(infos, list) else [infos]:
                if isinstance(info, dict):
                    # Of several configurations, each has features of its own, under its name.
                    yield from (part.get("features") for part in (info, *info.values()) if isinstance(part, dict))
        folder = os.path.dirname(folder)


def _card(text: str) -> Any:
    head = text.split("---", 2)
    return (yaml.safe_load(head[1]) or {}).get("dataset_info") if len(head) == 3 and not head[0].strip() else None


def _names(features: Any, label: str) -> list[str] | None:
    """Return the names from features as ``info`` writes them (a mapping), or as a card does (a list)."""
    if isinstance(features, dict):
        feature = features.get(label)
        names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
    elif isinstance(features, list):
        entry = next((part for part in features if isinstance(part, dict) and part.get("name") == label), {})
        kind = entry.get("dtype")
        names = (kind.get("class_label") or {}).get("names") if isinstance(kind, dict) else None
    else:
        return None
    if isinstance(names, dict):  # {'0': 'cat', '1': 'dog'}
        names = [names.get(str(i), names.get(i)) for i in range(len(names))]
    plain = isinstance(names, list) and names and all(isinstance(name, str) and "\n" not in name for name in names)
    return names if plain else None
