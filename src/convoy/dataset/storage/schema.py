"""The columns of a stored sample; ``petastorm.schema`` describes the same ones to Petastorm."""

import pyarrow as pa

ARROW_SCHEMA = pa.schema(
    [
        pa.field("image", pa.binary(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
    ]
)
WEIGHTED_SCHEMA = ARROW_SCHEMA.append(pa.field("weight", pa.float32(), nullable=False))
"""Columns of datasets whose source gives weights."""
