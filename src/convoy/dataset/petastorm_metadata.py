"""The door to Petastorm: the Unischema of a stored sample, and the metadata that makes Parquet files its dataset."""

import json
import pickle
import warnings

import numpy as np
import pyarrow.parquet as pq
from pyspark.sql.types import FloatType, IntegerType, StringType

from convoy.config import StorageConfig
from convoy.images import ArraySpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Petastorm 0.13 imports names that pyarrow 14 marks as old
    from petastorm.codecs import CompressedImageCodec, NdarrayCodec, ScalarCodec
    from petastorm.etl.dataset_metadata import ROW_GROUPS_PER_FILE_KEY, UNISCHEMA_KEY
    from petastorm.unischema import Unischema, UnischemaField
    from petastorm.utils import add_to_dataset_metadata


def unischema(spec: ArraySpec, storage: StorageConfig, weighted: bool = False) -> Unischema:
    """Return the Unischema of samples of this shape and type, stored by this codec.

    ``image`` pixels or array; ``label`` index into the manifest's class names; ``path`` the sample's name within its
    source; ``digest`` BLAKE2b-128 of the source's bytes, in hex; ``weight``, where
    samples are weighted, that of the sample in the loss.
    """
    if storage.codec == "raw":
        image = UnischemaField("image", np.dtype(spec.dtype).type, spec.shape, NdarrayCodec(), False)
    else:
        # Petastorm's codec returns grey images without an axis for the channel, and reads files of any type.
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
    folder: str, spec: ArraySpec, storage: StorageConfig, row_groups: dict[str, int], weighted: bool = False
) -> None:
    """Make a Petastorm dataset of a folder of Parquet files: its schema and row-group counts in ``_common_metadata``.

    The same that ``petastorm.etl.dataset_metadata.materialize_dataset`` writes on exit, without the Spark job that
    opens every file again: the row groups are known here.

    Args:
        folder: Absolute path of the folder.
        spec: Shape and type of the samples.
        storage: Their codec.
        row_groups: File name -> number of row groups.
        weighted: Whether there is a column ``weight``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the legacy dataset is what Petastorm's functions take
        dataset = pq.ParquetDataset(folder, validate_schema=False, use_legacy_dataset=True)
        add_to_dataset_metadata(dataset, UNISCHEMA_KEY, pickle.dumps(unischema(spec, storage, weighted)))
        add_to_dataset_metadata(dataset, ROW_GROUPS_PER_FILE_KEY, json.dumps(row_groups))
