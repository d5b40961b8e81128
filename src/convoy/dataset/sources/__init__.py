"""Where images come from. A source lists samples as a DataFrame and reads one sample on a worker.

Adding a source is one module with a frozen dataclass that implements ``Source``, and one line in ``source_of``.
"""

import os
from typing import Any, Protocol

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from convoy.config import SourceConfig
from convoy.dataset.sources.digits import DigitsSource
from convoy.dataset.sources.folder import FolderSource
from convoy.errors import ConfigError


class Source(Protocol):
    """A collection of labelled images; a frozen dataclass, since it is sent to the workers."""

    def check(self) -> None:
        """Raise ``SourceError`` for what is wrong and can be seen quickly, before any Spark work."""

    def classes(self) -> list[str]:
        """Names of all classes, sorted as ``keras.utils.image_dataset_from_directory`` sorts them."""

    def splits(self) -> set[str]:
        """The splits that the source itself gives; empty where it has none."""

    def listing(self, spark: SparkSession) -> DataFrame:
        """One row per sample.

        ``path`` (what ``read`` takes), ``name`` (stable within the source), ``class_name``, ``split`` (``train``,
        ``validation``, ``test``, or null where the source has none).
        """

    def read(self, path: str) -> bytes | np.ndarray:
        """Encoded bytes, or uint8 pixels (H, W) or (H, W, C). Runs on a worker; raises ``OSError``."""

    def describe(self) -> dict[str, Any]:
        """What the manifest says of the source."""


def source_of(config: SourceConfig) -> Source:
    """Return the source that the configuration names, checked."""
    source: Source
    if config.kind == "digits":
        source = DigitsSource()
    else:
        if not config.path:
            raise ConfigError(
                "source.path is missing; source.kind folder needs the folder of images, e.g. --source.path ~/images"
            )
        source = FolderSource(os.path.expanduser(config.path))
    source.check()
    return source
