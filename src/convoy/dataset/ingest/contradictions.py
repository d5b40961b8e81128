"""Images that are in more than one class: at least one of their labels is wrong."""

import functools
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from convoy.dataset.ingest.scan import payload_of
from convoy.dataset.sources import Source
from convoy.errors import SourceError
from convoy.images import BadImage, identify
from convoy.images.recognise import kind_of

_SHOWN = 3
_COLUMNS = "name string, class_name string, other_name string, other_class string"


def contradictory(samples: DataFrame) -> DataFrame:
    """Return one sample of each content that is in several classes: name, path, class, and those of another sample.

    Args:
        samples: ``Scan.samples``.
    """
    sample = F.struct("class_name", "name", "path")
    by_content = (
        samples.where("digest != ''").groupBy("digest").agg(F.min(sample).alias("one"), F.max(sample).alias("two"))
    )
    return by_content.where("one.class_name != two.class_name").selectExpr(
        "one.name", "one.path", "one.class_name", "two.name as other_name", "two.class_name as other_class"
    )


def check_contradictions(found: DataFrame, source: Source) -> None:
    """Raise ``SourceError`` if one of the samples is an image; what is not will be in the quarantine of each class.

    Args:
        found: Rows of ``contradictory``, with ``content`` if the source's rows hold the images.
        source: Where to read them.
    """
    rows = found.mapInArrow(functools.partial(keep_images, source=source), _COLUMNS).collect()
    if not rows:
        return
    pairs = [
        f"{row.name!r} (class {row.class_name!r}) and {row.other_name!r} (class {row.other_class!r})"
        for row in sorted(rows)[:_SHOWN]
    ]
    raise SourceError(
        f"images in more than one class: {len(rows):,}, e.g. {'; '.join(pairs)} have the same content; remove the wrong"
        " copies"
    )


def keep_images(batches: Iterable[pa.RecordBatch], source: Source) -> Iterator[pa.RecordBatch]:
    """Keep the rows whose content is an array or, by its header, an image. Runs on a worker."""
    for batch in batches:
        kept = [_is_image(row, source) for row in batch.to_pylist()]
        columns = batch.select([column.split()[0] for column in _COLUMNS.split(", ")])
        yield columns.filter(pa.array(kept, pa.bool_()))


def _is_image(row: dict[str, object], source: Source) -> bool:
    try:
        payload = payload_of(row, source)
        if isinstance(payload, bytes) and kind_of(payload) != "npy":
            identify(payload)
    except (BadImage, OSError):
        return False
    return True
