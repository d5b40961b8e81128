"""The Unischema of a stored sample, and the metadata that makes a folder of Parquet files a Petastorm dataset."""

import io
import json
import os
import warnings

import numpy as np
import pyarrow.parquet as pq
from pyspark.sql.types import FloatType, IntegerType, StringType

from convoy.config import StorageConfig
from convoy.dataset.petastorm.compat import portable_dumps
from convoy.dataset.storage.filesystem import Location, location, opened
from convoy.images import ArraySpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Petastorm 0.13 imports names that pyarrow 14 deprecates
    from petastorm.codecs import CompressedImageCodec, NdarrayCodec, ScalarCodec
    from petastorm.etl.dataset_metadata import ROW_GROUPS_PER_FILE_KEY, UNISCHEMA_KEY
    from petastorm.etl.legacy import depickle_legacy_package_name_compatible
    from petastorm.unischema import Unischema, UnischemaField

COMMON_METADATA = "_common_metadata"
"""The file with the schema and the numbers of row groups."""


def unischema(spec: ArraySpec, storage: StorageConfig, weighted: bool = False) -> Unischema:
    """Return the Unischema of samples of this shape and type, stored by this codec.

    ``image``: pixels or array; ``label``: index into the manifest's class names; ``path``: the sample's name within its
    source; ``digest``: BLAKE2b-128 of the source's bytes, in hex; ``weight``, if samples are weighted: the weight of
    the sample in the loss.
    """
    if storage.codec == "raw":
        image = UnischemaField("image", np.dtype(spec.dtype).type, spec.shape, NdarrayCodec(), False)
    else:
        # Petastorm's codec returns grey images without a channel axis, and reads files of any type.
        kind = "jpeg" if storage.codec == "jpeg" else "png"
        stored = spec.shape[:2] if spec.shape[2] == 1 else spec.shape
        image = UnischemaField("image", np.uint8, stored, CompressedImageCodec(kind, storage.jpeg_quality), False)
    fields = [
        image,
        UnischemaField("label", np.int32, (), ScalarCodec(IntegerType()), False),
        UnischemaField("path", np.str_, (), ScalarCodec(StringType()), False),
        UnischemaField("digest", np.str_, (), ScalarCodec(StringType()), False),
    ]
    if weighted:
        fields.append(UnischemaField("weight", np.float32, (), ScalarCodec(FloatType()), False))
    return Unischema("Convoy", fields)


def add_petastorm_metadata(
    folder: str | Location,
    spec: ArraySpec,
    storage: StorageConfig,
    row_groups: dict[str, int],
    weighted: bool = False,
) -> None:
    """Write ``_common_metadata``, which makes a folder of Parquet files a Petastorm dataset: schema and row groups.

    It equals what ``petastorm.etl.dataset_metadata.materialize_dataset`` writes on exit, without the Spark job that
    opens every file again: the numbers of row groups are already available here.

    Args:
        folder: The folder, or its URL.
        spec: Shape and type of the samples.
        storage: Their codec.
        row_groups: File name -> number of row groups.
        weighted: Whether there is a column ``weight``.
    """
    folder = location(str(folder))
    with opened(folder / min(row_groups)) as first:
        stored = pq.read_metadata(first).schema.to_arrow_schema()
    described = {
        **(stored.metadata or {}),
        UNISCHEMA_KEY: portable_dumps(unischema(spec, storage, weighted)),
        ROW_GROUPS_PER_FILE_KEY: json.dumps(row_groups),
    }
    file = io.BytesIO()
    pq.write_metadata(stored.with_metadata(described), file)
    (folder / COMMON_METADATA).write_bytes(file.getvalue())


def read_petastorm_metadata(file: str | os.PathLike[str] | Location) -> tuple[object, dict[str, int]]:
    """Return the Unischema and the numbers of row groups of a ``_common_metadata``.

    The schema is unpickled, as by every Petastorm reader: read only files from a source that you trust.

    Raises:
        FileNotFoundError: There is no such file.
        Exception: Any type, if the file is damaged or holds neither.
    """
    with opened(location(str(file))) as stream:
        stored = pq.read_schema(stream).metadata or {}
    return depickle_legacy_package_name_compatible(stored[UNISCHEMA_KEY]), json.loads(stored[ROW_GROUPS_PER_FILE_KEY])


def read_unischema(file: str | os.PathLike[str]) -> Unischema:
    """Return the Unischema of a ``_common_metadata`` or ``_metadata``; it is unpickled, as above.

    Raises:
        Exception: Any type, if the file is damaged or holds none.
    """
    stored = pq.read_schema(file).metadata or {}
    if UNISCHEMA_KEY not in stored:
        raise ValueError("it has no Unischema")
    schema = depickle_legacy_package_name_compatible(stored[UNISCHEMA_KEY])
    if not isinstance(schema, Unischema):
        raise ValueError(f"it holds a {type(schema).__name__} instead of a Unischema")
    return schema
