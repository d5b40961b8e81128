"""Petastorm datasets written with Petastorm's own codecs, without Spark: what its users have."""

import json
import pickle
import warnings
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import convoy


def field(name, dtype, shape=(), kind="scalar", nullable=False):
    """A UnischemaField: of kind ``scalar``, ``png``, ``array`` or ``compressed``."""
    from pyspark.sql import types

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        convoy.petastorm()
        from petastorm.codecs import CompressedImageCodec, CompressedNdarrayCodec, NdarrayCodec, ScalarCodec
        from petastorm.unischema import UnischemaField

    scalar = {np.str_: types.StringType, np.int32: types.IntegerType, np.int64: types.LongType}
    codecs = {
        "scalar": lambda: ScalarCodec(scalar.get(dtype, types.FloatType)()),
        "png": lambda: CompressedImageCodec("png"),
        "array": NdarrayCodec,
        "compressed": CompressedNdarrayCodec,
    }
    return UnischemaField(name, dtype, shape, codecs[kind](), nullable)


def write_petastorm(folder, fields, columns, partition_by=(), rows_per_group=10):
    """Write columns of decoded values as a Petastorm dataset, in row groups of ten; returns the folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from petastorm.etl.dataset_metadata import ROW_GROUPS_PER_FILE_KEY, UNISCHEMA_KEY
        from petastorm.unischema import Unischema

    encoded = [
        {one.name: None if columns[one.name][row] is None else _encode(one, columns[one.name][row]) for one in fields}
        for row in range(len(next(iter(columns.values()))))
    ]
    types = {"StringType": pa.string(), "IntegerType": pa.int32(), "LongType": pa.int64(), "FloatType": pa.float32()}
    schema = pa.schema(
        [
            pa.field(one.name, types.get(type(one.codec.spark_dtype()).__name__, pa.binary()), one.nullable)
            for one in fields
            if one.name not in partition_by
        ]
    )

    def key(row):
        return "/".join(f"{name}={row[name]}" for name in partition_by)

    row_groups = {}
    for place, rows in groupby(sorted(encoded, key=key), key):
        table = pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema)
        (folder / place).mkdir(parents=True, exist_ok=True)
        name = f"{place}/part-0.parquet".lstrip("/")
        pq.write_table(table, folder / name, row_group_size=rows_per_group)
        row_groups[name] = -(-len(table) // rows_per_group)
    metadata = {
        UNISCHEMA_KEY: pickle.dumps(Unischema("Given", fields)),
        ROW_GROUPS_PER_FILE_KEY: json.dumps(row_groups),
    }
    pq.write_metadata(schema.with_metadata(metadata), folder / "_common_metadata")
    return folder


def _encode(field, value):
    if not field.shape:
        value = field.numpy_dtype(value)
    stored = field.codec.encode(field, value)
    return bytes(stored) if isinstance(stored, bytearray) else stored
