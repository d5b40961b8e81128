"""Base class of sources whose samples are in arrays and are identified by their index."""

import functools
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from convoy.cluster.session_facts import parallelism
from convoy.dataset.sources.labels import check_labels
from convoy.dataset.sources.listing import (
    LABEL_EXPECTED,
    LISTING,
    LISTING_SCHEMA,
    MAX_CLASSES,
    is_label,
    sorted_classes,
)
from convoy.errors import SourceError
from convoy.images import ArraySpec

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Part:
    """Some samples with their labels.

    Attributes:
        name: First part of ``path``, which is ``<name>/<index>``.
        split: ``train``, ``validation``, ``test``, or None if the source has no splits.
        rows: Number of samples.
    """

    name: str
    split: str | None
    rows: int


class IndexedSource(ABC):
    """Source that lists and reads ``<part>/<index>``; a subclass opens the arrays and is a frozen dataclass."""

    @abstractmethod
    def parts(self) -> list[Part]:
        """Return the parts, from the files' headers alone; raises ``SourceError`` for errors in the headers."""

    @abstractmethod
    def images(self, part: str) -> np.ndarray:
        """Return the samples of a part, opened once per process: uint8 images (N, H, W[, C]), or arrays (N, ..., C).

        Raises ``OSError``.
        """

    @abstractmethod
    def labels(self, part: str) -> np.ndarray:
        """Return the integer or string labels (N,) of a part, opened once per process."""

    def class_names(self) -> list[str] | None:
        """Return the names of the classes 0, 1, ..., or None if the source has no names."""
        return None

    def check(self) -> None:
        """Raise ``SourceError`` for wrong headers, sizes or labels."""
        self.parts()
        self.classes()

    def classes(self, spark: SparkSession | None = None) -> list[str]:
        """Return the class names of the source, else its labels, sorted."""
        names = self.class_names()
        found = Counter[str]()
        for part in self.parts():
            labels = self.labels(part.name)
            for start in range(0, len(labels), _CHUNK):
                distinct, counts = np.unique(labels[start : start + _CHUNK], return_counts=True)
                if names and (outside := distinct[(distinct < 0) | (distinct >= len(names))]).size:
                    raise SourceError(
                        f"label {outside[0]} in {part.name!r} has no name: class_names has {len(names)}; expected"
                        f" labels 0 to {len(names) - 1}"
                    )
                found.update(dict(zip(texts(distinct), counts.tolist(), strict=True)))
                if len(found) > MAX_CLASSES:
                    raise SourceError(f"{part.name!r} has over {MAX_CLASSES:,} different labels; is that right?")
        for name in names or found:
            if not is_label(name):
                raise SourceError(f"there is a class {name!r}; {LABEL_EXPECTED}")
        if not names:
            check_labels(found, "the arrays of labels", "the array")
        return names or sorted_classes(found)

    def splits(self, spark: SparkSession | None = None) -> set[str]:
        """Return the splits of the parts."""
        return {part.split for part in self.parts() if part.split}

    def notes(self, spark: SparkSession) -> list[str]:
        """Return no lines: nothing is ignored."""
        return []

    def array_spec(self) -> ArraySpec | None:
        """Return None, for images; subclasses with arrays override this."""
        return None

    def listing(self, spark: SparkSession) -> DataFrame:
        """List all samples, part after part, generated on the workers from their numbers."""
        parts = self.parts()
        ids = spark.range(0, sum(part.rows for part in parts), numPartitions=parallelism(spark))
        return ids.mapInArrow(functools.partial(list_indexed, source=self, parts=parts), LISTING)

    def read(self, path: str) -> np.ndarray:
        """Return pixels or array of ``<part>/<index>``, in this machine's byte order."""
        part, index = path.rsplit("/", 1)
        sample = self.images(part)[int(index)]
        return np.array(sample, sample.dtype.newbyteorder("="))


def list_indexed(
    batches: Iterable[pa.RecordBatch], source: IndexedSource, parts: Sequence[Part]
) -> Iterator[pa.RecordBatch]:
    """Convert rows (id) to the samples with those numbers, counted over all parts. Runs on a worker."""
    names = source.class_names()
    for batch in batches:
        ids = batch.column("id").to_numpy()
        first = 0
        for part in parts:
            indices = ids[(ids >= first) & (ids < first + part.rows)] - first
            first += part.rows
            if indices.size:
                labels = source.labels(part.name)[indices]
                paths = [f"{part.name}/{index}" for index in indices.tolist()]
                columns = {
                    "path": paths,
                    "name": paths,
                    "class_name": [names[label] for label in labels.tolist()] if names else texts(labels),
                    "split": [part.split] * len(paths),
                }
                yield pa.RecordBatch.from_pydict(columns, LISTING_SCHEMA)


def texts(labels: np.ndarray) -> list[str]:
    """Return labels as strings: ``"7"`` for a number, text unchanged."""
    return [label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label) for label in labels.tolist()]
