"""``dataset.image.resize: auto``: propose a geometry from a sample of the images."""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame

from convoy.config import DatasetConfig
from convoy.dataset.ingest.scan import payload_of
from convoy.dataset.sources import Source
from convoy.errors import SourceError
from convoy.images import BadImage, ImageInfo, identify, propose

_SAMPLE = 500
_COLUMNS = "kind string, width int, height int, channels int, error string"
_ARROW = pa.schema(
    [("kind", pa.string()), *((name, pa.int32()) for name in ("width", "height", "channels")), ("error", pa.string())]
)


def propose_image(samples: DataFrame, source: Source, config: DatasetConfig) -> tuple[DatasetConfig, str]:
    """Replace the geometry of a configuration with one that suits the images.

    Args:
        samples: Rows that ``payload_of`` takes, with ``key``: the same sample every time.
        source: Where to read them.
        config: A configuration whose ``image.resize`` is ``auto``.

    Returns:
        (The configuration with height, width, channels and policy filled in, the reason in one line).

    Raises:
        SourceError: No image of the sample can be read.
    """
    sample = samples.where("error is null").orderBy("key").limit(_SAMPLE)
    rows = sample.mapInArrow(functools.partial(identify_samples, source=source), _COLUMNS).collect()
    good = [row for row in rows if row.error is None]
    if not good:
        example = f" For example {rows[0].error}" if rows else ""
        raise SourceError(
            f"none of the images can be read, so no geometry can be proposed; is source.path right?{example}"
        )
    infos = [
        ImageInfo(kind=r.kind, width=r.width, height=r.height, channels=r.channels, bits=8, plain=True) for r in good
    ]
    geometry, reason = propose(infos)
    kept = ("interpolation", "value_range")
    image = replace(config.image, **{k: v for k, v in asdict(geometry).items() if k not in kept})
    return replace(config, image=image), reason


def identify_samples(batches: Iterable[pa.RecordBatch], source: Source) -> Iterator[pa.RecordBatch]:
    """Return the size and channels of every sample, or why its header cannot be read. Runs on a worker."""
    for batch in batches:
        yield pa.RecordBatch.from_pylist([_identified(row, source) for row in batch.to_pylist()], _ARROW)


def _identified(row: dict[str, Any], source: Source) -> dict[str, Any]:
    try:
        payload = payload_of(row, source)
        if isinstance(payload, bytes):
            info = identify(payload)
            return {"kind": info.kind, "width": info.width, "height": info.height, "channels": info.channels}
    except (BadImage, OSError) as problem:
        detail = problem.detail if isinstance(problem, BadImage) else problem
        return {"error": f"{row['name']!r}: {detail}"}
    channels = payload.shape[2] if payload.ndim == 3 else 1
    return {"kind": "array", "width": payload.shape[1], "height": payload.shape[0], "channels": channels}
