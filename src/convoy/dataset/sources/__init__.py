"""Sources of images. A source lists samples as a DataFrame and reads one sample on a worker.

To add a source, write one module with a frozen dataclass that implements ``Source`` (``IndexedSource`` implements most
of it for arrays), named ``<Kind>Source``, and add it to ``_PATHS``, to ``_source_of`` and, by its kind, to
``SourceKind`` in ``convoy.config.source``. ``tests/dataset/sources/test_idx.py`` is a test to start from.
"""

import os
from typing import Any, Protocol

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from convoy.config import SourceConfig
from convoy.config.locations import is_object_url
from convoy.dataset.sources.arrays import ArraysSource
from convoy.dataset.sources.digits import DigitsSource
from convoy.dataset.sources.folder import FolderSource
from convoy.dataset.sources.idx import IdxSource
from convoy.dataset.sources.manifest import ManifestSource
from convoy.dataset.sources.petastorm import PetastormSource
from convoy.dataset.sources.table import TableSource
from convoy.dataset.sources.table_folders import refuse_table
from convoy.errors import ConfigError
from convoy.images import ArraySpec


class Source(Protocol):
    """A collection of labelled images; a frozen dataclass, since it is sent to the workers."""

    def check(self) -> None:
        """Raise ``SourceError`` for errors that can be detected quickly, before any Spark work."""

    def classes(self, spark: SparkSession) -> list[str]:
        """Return the names of all classes, in the order of their indices.

        Names of folders are sorted as strings, as ``keras.utils.image_dataset_from_directory`` does; labels that are
        all integers are sorted by value. Called before ``listing``: raises ``SourceError`` for wrong rows, and for
        errors that only Spark can detect.
        """

    def splits(self, spark: SparkSession) -> set[str]:
        """Return the splits that the source itself gives; empty if it has none."""

    def notes(self, spark: SparkSession) -> list[str]:
        """Return lines for the user: what is ignored, or unusual. Called after ``classes``; may run a Spark job."""

    def array_spec(self) -> ArraySpec | None:
        """Return shape and type of samples that are arrays, which are stored unchanged; None for images."""

    def listing(self, spark: SparkSession) -> DataFrame:
        """Return a DataFrame with one row per sample.

        Its columns are ``path`` (the argument of ``read``), ``name`` (stable within the source), ``class_name``,
        ``split`` (``train``, ``validation``, ``test``, or null if the source has none). A source with sample weights
        adds a float column ``weight``, without nulls. A source whose rows hold the samples themselves adds a binary
        column ``content``: encoded bytes, or an array as a ``.npy`` file.
        """

    def read(self, path: str) -> bytes | np.ndarray:
        """Return encoded bytes, uint8 pixels (H, W) or (H, W, C), or an array. Runs on a worker; raises ``OSError``.

        Not called if ``listing`` has a column ``content``.
        """

    def describe(self) -> dict[str, Any]:
        """Return the description of the source for the manifest."""


_PATHS = {
    "folder": "the folder of images, e.g. --source.path ~/images",
    "manifest": "the CSV, JSON lines or Parquet file that lists images, e.g. --source.path ~/images/labels.csv",
    "table": "a path that Spark reads or the name of a catalog table, e.g. --source.path main.default.images",
    "idx": "the folder of MNIST's files, e.g. --source.path ~/mnist",
    "petastorm": "the folder of the Petastorm dataset, e.g. --source.path ~/pictures",
    "arrays": "the .npz file or the folder of .npy files, e.g. --source.path ~/mnist.npz",
}


def source_of(config: SourceConfig) -> Source:
    """Return the source that the configuration names, after checking it."""
    source = _source_of(config)
    if config.path and config.kind not in ("digits", "table") and not is_object_url(config.path):
        refuse_table(config.path, config.kind)
    source.check()
    return source


def _source_of(config: SourceConfig) -> Source:
    if config.kind == "digits":
        return DigitsSource()
    if not config.path:
        raise ConfigError(f"source.path is missing; source.kind {config.kind} needs {_PATHS[config.kind]}")
    if config.kind == "manifest":
        return ManifestSource(config.path, config.columns)
    if config.kind == "table":
        return TableSource(config.path, config.format, config.columns)
    if config.kind == "petastorm":
        return PetastormSource(config.path, columns=config.columns)
    if config.kind == "idx":
        return IdxSource(config.path)
    if config.kind == "arrays":
        return ArraysSource(config.path)
    assert config.kind == "folder", config.kind
    return FolderSource(config.path if is_object_url(config.path) else os.path.expanduser(config.path))
